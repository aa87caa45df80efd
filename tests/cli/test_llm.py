"""`llm trim`: what it reads, what it says, and what it refuses."""

import json
import shutil
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from slt_cache.corpora.base import Clip
from slt_cache.corpora.manifest import write_manifest
from tests.helpers.commands import slt_cache
from tests.helpers.small_llms import SENTENCES, make_small_llm

TRAIN, DEV = SENTENCES[4:], SENTENCES[:4]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "mbart"
    make_small_llm("mbart", folder)
    return folder


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    path = tmp_path / "manifest.tsv"
    splits = [*(("train", text) for text in TRAIN), *(("dev", text) for text in DEV), ("test", "Ω")]
    clips = [
        Clip(f"{number}", split, tmp_path / f"{number}.mp4", None, None, text)
        for number, (split, text) in enumerate(splits)
    ]
    write_manifest(path, clips)
    return path


def test_the_command_says_what_it_did(whole: Path, manifest: Path, tmp_path: Path) -> None:
    arguments = ("llm", "trim", "--name", whole, "--text", manifest, "--out", tmp_path / "out")
    ran = slt_cache(*arguments)
    assert ran.code == 0, ran.err
    assert "MB saved" in ran.out and "test: 1 of 2 tokens unknown (1 with the full vocabulary)" in ran.out
    assert "，" in ran.out and f"llm.name={tmp_path / 'out'}" in ran.out
    again = slt_cache(*arguments, "--json")
    report = json.loads(again.out)
    assert report["out"] == str(tmp_path / "out")
    assert report["vocab_after"] < report["vocab_before"]
    assert report["parameters_after"] < report["parameters_before"]
    assert report["held_out"]["test"] == {"pieces": 2, "unknown": 1, "unknown_before": 1}


def test_the_tokens_of_a_prompt_are_kept_on_demand(whole: Path, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("am tag\n", encoding="utf-8")
    arguments = ("llm", "trim", "--name", whole, "--text", tmp_path / "text.txt", "--json")
    asked = ("--out", tmp_path / "asked", "--prompt", "thank you: {video} watching")
    plain, kept = (slt_cache(*arguments, *more) for more in (("--out", tmp_path / "plain"), asked))
    assert json.loads(plain.out)["vocab_after"] < json.loads(kept.out)["vocab_after"]
    tokens = AutoTokenizer.from_pretrained(whole).tokenize("watching")
    known = [AutoTokenizer.from_pretrained(tmp_path / one).get_vocab().keys() for one in ("plain", "asked")]
    assert not set(tokens) <= known[0] and set(tokens) <= known[1]


def test_the_command_takes_a_plain_text(whole: Path, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("\ufeffam tag\n\n  die sonne \n", encoding="utf-8")
    ran = slt_cache("llm", "trim", "--name", whole, "--text", tmp_path / "text.txt", "--out", tmp_path / "o", "--json")
    assert json.loads(ran.out)["train_sentences"] == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "no such file"),
        (b" \n", "empty"),
        (b"\xff\xfe", "not UTF-8"),
    ],
)
def test_a_text_that_cannot_be_read_is_said(whole: Path, tmp_path: Path, text: bytes | None, said: str) -> None:
    path = tmp_path / "text.txt"
    if text is not None:
        path.write_bytes(text)
    ran = slt_cache("llm", "trim", "--name", whole, "--text", path, "--out", tmp_path / "out")
    assert ran.code == 2
    assert said in ran.err and not (tmp_path / "out").exists()


def test_a_model_that_cannot_be_had_and_a_manifest_without_train_are_said(
    whole: Path, manifest: Path, tmp_path: Path
) -> None:
    ran = slt_cache("llm", "trim", "--name", tmp_path / "none", "--text", manifest, "--out", tmp_path / "out")
    assert ran.code == 2
    assert "HF_HUB_OFFLINE" in ran.err
    manifest.write_text(manifest.read_text(encoding="utf-8").replace("\ttrain\t", "\tdev\t"), encoding="utf-8")
    ran = slt_cache("llm", "trim", "--name", whole, "--text", manifest, "--out", tmp_path / "out")
    assert ran.code == 2
    assert "no clips of train" in ran.err


def test_a_folder_with_something_else_is_not_replaced(whole: Path, manifest: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "other")
    for out in (whole, tmp_path / "other", manifest):
        ran = slt_cache("llm", "trim", "--name", whole, "--text", manifest, "--out", out)
        assert ran.code == 2
        assert "Use another folder" in ran.err
    assert all((whole / one.name).read_bytes() == one.read_bytes() for one in (tmp_path / "other").iterdir())
