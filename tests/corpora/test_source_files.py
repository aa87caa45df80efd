"""Many annotation files are read again only if one looks different."""

import os
from pathlib import Path
from typing import Any

import pytest

from slt_cache.corpora.source_files import FEW, have_changed, sources_sha256

NAMES = [f"{number}.vtt" for number in range(FEW + 1)]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    for name in NAMES:
        (tmp_path / name).write_text(f"captions of {name}")
    return tmp_path


def made_of(corpus: Path, names: list[str]) -> dict[str, Any]:
    return {"sources": names, "source_sha256": sources_sha256(corpus, names)}


def test_files_of_the_same_size_and_time_are_read_once(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = made_of(corpus, NAMES)
    assert not have_changed(corpus, made, corpus / "run")
    monkeypatch.setattr("slt_cache.corpora.source_files.sources_sha256", lambda *_: pytest.fail("they are read again"))
    assert not have_changed(corpus, made, corpus / "run")


def test_an_edited_file_is_noticed_and_a_touched_or_missing_one_is_not(corpus: Path) -> None:
    made = made_of(corpus, NAMES)
    assert not have_changed(corpus, made, corpus / "run")
    os.utime(corpus / NAMES[0], ns=(1, 1))
    assert not have_changed(corpus, made, corpus / "run")
    (corpus / NAMES[0]).write_text("captions of O.vtt")
    assert have_changed(corpus, made, corpus / "run")
    (corpus / NAMES[0]).unlink()
    assert not have_changed(corpus, made, corpus / "run")


def test_a_new_preparation_does_not_trust_what_was_kept_for_the_one_before(corpus: Path) -> None:
    assert not have_changed(corpus, made_of(corpus, NAMES), corpus / "run")
    assert have_changed(corpus, {"sources": NAMES, "source_sha256": "of other files"}, corpus / "run")


def test_few_files_leave_no_record(corpus: Path) -> None:
    made = made_of(corpus, NAMES[:1])
    assert not have_changed(corpus, made, corpus / "run")
    assert not (corpus / "run").exists()
    (corpus / NAMES[0]).write_text("others")
    assert have_changed(corpus, made, corpus / "run")
