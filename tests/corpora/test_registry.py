"""The registry of corpora: a new one is a file and a line, an unknown one lists what there is."""

import json
from pathlib import Path

import pytest

from slt_cache.config import load_config, shipped_configs
from slt_cache.corpora.registry import CORPORA, corpus_named, corpus_of, language_code
from slt_cache.errors import InputError
from slt_cache.metrics.presets import PRESETS
from slt_cache.runs.scoring import preset_of
from tests.helpers.commands import TINY, slt_cache

NAMES = (
    "avatar, phoenix14t, csl-daily, how2sign, openasl, youtube-asl, youtube-sl-25, csl-news, dailymoth, bobsl, "
    "wmt-slt, isign, uni-sign, subtitles, tsv, merge"
)
NO_LANGUAGE = ("youtube-sl-25", "uni-sign", "subtitles", "merge")
"""Corpora whose language only the user knows."""


@pytest.fixture
def made_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a corpus that only this test knows."""
    monkeypatch.setitem(CORPORA, "made-up", "tests.helpers.made_up_corpus")
    folder = tmp_path / "corpus"
    folder.mkdir()
    (folder / "clips.txt").write_text("train a jeden dva\ndev b tři\n", encoding="utf-8")
    for name in "ab":
        (folder / f"{name}.mp4").touch()
    return folder


def test_a_new_corpus_is_prepared_after_one_file_and_one_line(made_up: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    ran = slt_cache("prepare", "made-up", "--root", made_up, "--run", run, "--config", TINY, "--json")
    assert ran.code == 0, ran.err
    printed = json.loads(ran.out)
    assert printed["counts"] == {"train": 1, "dev": 1, "test": 0}
    assert printed["published"] == {"train": [1], "dev": [1]}
    assert printed["problems"] == {}
    assert "name: made-up" in (run / "config.yaml").read_text(encoding="utf-8")
    config = load_config(str(run / "config.yaml"), ["llm.language=null"])
    assert (language_code(config), preset_of(config)) == ("cs_CZ", "plain")


def test_a_new_corpus_starts_from_the_settings_for_your_own_videos(
    made_up: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert slt_cache("prepare", "made-up", "--root", made_up).code == 0
    assert (tmp_path / "runs" / "tsv" / "manifest.tsv").is_file()


def test_a_new_corpus_without_its_folder_is_refused_with_the_command(made_up: Path, tmp_path: Path) -> None:
    ran = slt_cache("prepare", "made-up", "--run", tmp_path / "run")
    assert (ran.code, "prepare made-up --root DIR" in ran.err) == (2, True)
    ran = slt_cache("prepare", "made-up", "--root", tmp_path / "none", "--run", tmp_path / "run")
    assert (ran.code, "no such folder. Name the folder of clips.txt." in ran.err) == (2, True)


@pytest.mark.parametrize(
    "words",
    [
        ("prepare", "phoenix15"),
        ("train-visual", "--set", "corpus.name=phoenix15"),
        ("config", "show", "--set", "corpus.name=phoenix15"),
        ("reproduce", "table1", "--set", "corpus.name=phoenix15"),
    ],
)
def test_an_unknown_corpus_is_refused_with_all_that_there_are(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = slt_cache(*words)
    assert ran.code == 2
    assert f"Choose one of {NAMES}." in ran.err
    assert not (tmp_path / "runs").exists()


def test_an_unknown_corpus_in_a_config_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("corpus:\n  name: phoenix15\n")
    ran = slt_cache("train-visual", "--config", tmp_path / "mine.yaml", "--run", tmp_path / "run")
    assert (ran.code, ran.err) == (2, f"error: corpus.name phoenix15: unknown. Choose one of {NAMES}.\n")


def test_settings_that_never_passed_a_command_are_refused_when_the_corpus_is_looked_up() -> None:
    with pytest.raises(InputError, match=NAMES):
        corpus_of(load_config("avatar", ["corpus.name=phoenix15"]))


def test_help_and_config_show_name_every_corpus() -> None:
    assert NAMES in " ".join(slt_cache("prepare", "--help").out.split())
    assert f"One of {NAMES}." in " ".join(slt_cache("config", "show", "corpus.name").out.split())


@pytest.mark.parametrize("name", CORPORA)
def test_a_corpus_has_a_shipped_config_of_its_own_and_a_preset_that_exists(name: str) -> None:
    corpus = corpus_named(name)
    assert corpus.config in shipped_configs()
    assert load_config(corpus.config).corpus.name == name
    assert corpus.preset in (None, *PRESETS)


@pytest.mark.parametrize("name", [name for name in CORPORA if name not in ("avatar", "tsv")])
def test_the_shipped_config_of_a_corpus_has_its_language(name: str) -> None:
    config = load_config(corpus_named(name).config)
    assert corpus_named(name).language_code(config.corpus) == config.llm.language
    assert (config.llm.language is None) == (name in NO_LANGUAGE)
