"""LLMs in one GGUF file: read like the folder of the same model; anything else is one line."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from slt_cache.errors import InputError
from slt_cache.models.llm.load import load_seq2seq
from slt_cache.text import sources
from slt_cache.text.tokenizer import load_tokenizer
from tests.helpers.commands import TINY, slt_cache
from tests.helpers.imported_run import imported_cache, of_imported
from tests.helpers.small_llms import SENTENCES


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("gguf", reason="the extra gguf is not installed")
    from tests.helpers.small_gguf import write_gguf

    made = tmp_path_factory.mktemp("gguf")
    write_gguf(made / "small.gguf", made / "folder")
    return made


@torch.no_grad()
def test_a_file_is_read_as_the_folder_of_the_same_model(folder: Path, tmp_path: Path) -> None:
    of_file, of_folder = (load_tokenizer(str(folder / name), "de_DE") for name in ("small.gguf", "folder"))
    assert [of_file.encode(one) for one in SENTENCES] == [of_folder.encode(one) for one in SENTENCES]
    assert (of_file.start, of_file.eos, of_file.pad) == (of_folder.start, of_folder.eos, of_folder.pad)
    read, other = (load_seq2seq(str(folder / name), tokenizer=of_file) for name in ("small.gguf", "folder"))
    ids = torch.arange(40).unsqueeze(0)
    assert torch.equal(read(input_ids=ids).logits, other(input_ids=ids).logits)
    read.save_pretrained(tmp_path)
    of_file.save(tmp_path)
    again = load_seq2seq(str(tmp_path))
    assert torch.equal(again(input_ids=ids).logits, read(input_ids=ids).logits)


@pytest.mark.parametrize("share", [0.0001, 0.01, 0.3, 0.6, 0.99])
def test_a_file_that_is_cut_off_is_one_line(folder: Path, tmp_path: Path, share: float) -> None:
    whole = (folder / "small.gguf").read_bytes()
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(whole[: max(5, int(len(whole) * share))])
    with pytest.raises(InputError, match=r"cut\.gguf: .*\. Download it again") as raised:
        load_tokenizer(str(cut), "de_DE")
        load_seq2seq(str(cut))
    assert "\n" not in str(raised.value)


def test_a_missing_file_another_file_and_a_missing_package_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other.gguf"
    with pytest.raises(InputError, match=r"other\.gguf: no such file"):
        load_tokenizer(str(other), None)
    other.write_bytes(b"PK\x03\x04 is an archive")
    with pytest.raises(InputError, match=r"other\.gguf: not a GGUF file, despite its name"):
        load_seq2seq(str(other))
    other.write_bytes(b"GGUF")
    monkeypatch.setattr(sources, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"requires the package gguf\. Install it: pip install 'gguf>=0\.17'"):
        load_seq2seq(str(other))


def test_the_commands_train_and_score_with_a_file(folder: Path, tmp_path: Path) -> None:
    cache = imported_cache(tmp_path / "feats.h5", 6)
    settings = ("llm.trim=false", "llm.lora.r=2", "llm_training.epochs=1", "generation.max_new_tokens=8")
    for words in (
        of_imported(tmp_path, cache, f"llm.name={folder / 'small.gguf'}", *settings),
        ["eval", "--split", "dev", "--run", str(tmp_path)],
    ):
        ran = slt_cache(*words)
        assert ran.code == 0, ran.err
    saved, wanted = (load_file(one / "model.safetensors") for one in (tmp_path / "llm" / "best", folder / "folder"))
    assert saved.keys() == wanted.keys() and all(torch.equal(saved[name], wanted[name]) for name in wanted)
    assert (tmp_path / "eval" / "dev.tsv").read_text().count("\n") == 5  # a heading and four clips


def test_a_command_ends_with_2(tmp_path: Path) -> None:
    (tmp_path / "other.gguf").write_bytes(b"something else")
    ran = slt_cache(
        "train-visual", "--run", tmp_path / "run", "--config", TINY, "--set", f"llm.name={tmp_path}/other.gguf"
    )
    assert ran.code == 2
    assert "other.gguf: not a GGUF file" in ran.err and "Traceback" not in ran.err
