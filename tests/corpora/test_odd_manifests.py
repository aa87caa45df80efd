"""Manifests as pandas, a Mac or another toolkit writes them are read rightly, or refused with the correction."""

import unicodedata
from pathlib import Path

import pytest

from slt_cache.corpora.manifest import read_manifest
from tests.helpers.commands import TINY, Ran, slt_cache
from tests.helpers.official import video

HEADER = "id\tsplit\tvideo\tstart\tend\ttext"
ROWS = [("a", "train", "Guten Tag."), ("b", "dev", 'Er sagt "ja".'), ("c", "test", "Nein, danke.")]


def prepared(folder: Path, text: str) -> Ran:
    for number, name in enumerate("abc"):
        video(folder / f"{name}.mp4", first=10 * number)
    (folder / "manifest.tsv").write_text(text, encoding="utf-8")
    words = ("--root", folder, "--run", folder / "run", "--config", TINY, "--set", "llm.language=de_DE", "--no-probe")
    return slt_cache("prepare", "tsv", *words)


def table(rows: list[tuple[str, str, str]]) -> str:
    return "\n".join([HEADER, *(f"{name}\t{split}\t{name}.mp4\t\t\t{text}" for name, split, text in rows)]) + "\n"


def quoted(value: str, always: bool) -> str:
    doubled = value.replace('"', '""')
    return f'"{doubled}"' if always or '"' in value else value


@pytest.mark.parametrize("always", [False, True])
def test_what_pandas_quotes_is_read_as_it_was(tmp_path: Path, always: bool) -> None:
    lines = [[name, split, f"{name}.mp4", "", "", text] for name, split, text in ROWS]
    text = "\n".join("\t".join(quoted(value, always) for value in line) for line in [HEADER.split("\t"), *lines])
    assert prepared(tmp_path, text + "\n").code == 0
    assert [clip.text for clip in read_manifest(tmp_path / "run" / "manifest.tsv")] == [text for *_, text in ROWS]


def test_the_index_that_pandas_writes_is_ignored(tmp_path: Path) -> None:
    lines = table(ROWS).splitlines()
    text = "\n".join(["\t" + lines[0], *(f"{number}\t{line}" for number, line in enumerate(lines[1:]))])
    assert prepared(tmp_path, text + "\n").code == 0
    assert [clip.id for clip in read_manifest(tmp_path / "run" / "manifest.tsv")] == ["a", "b", "c"]


def test_a_manifest_with_letters_and_accents_apart_finds_its_videos(tmp_path: Path) -> None:
    (tmp_path / "schön.mp4").write_bytes(b"v")
    apart = unicodedata.normalize("NFD", table([("schön", "train", "schön"), *ROWS[1:]]))
    assert prepared(tmp_path, apart).code == 0
    clip = read_manifest(tmp_path / "run" / "manifest.tsv")[0]
    assert (clip.id, clip.video.name, clip.video.is_file()) == ("schön", "schön.mp4", True)
    assert clip.text == unicodedata.normalize("NFD", "schön")


@pytest.mark.parametrize(
    ("split", "ours"),
    [("val", "dev"), ("validation", "dev"), ("valid", "dev"), ("Dev", "dev"), ("TEST", "test"), ("training", "train")],
)
def test_other_names_of_splits_are_refused_with_ours(tmp_path: Path, split: str, ours: str) -> None:
    ran = prepared(tmp_path, table([("a", split, "Guten Tag.")]))
    assert ran.code == 2
    assert f"line 2: split {split!r} is not one of train, dev, test; write {ours}" in ran.err


def test_a_manifest_of_test_alone_is_written_and_the_command_that_scores_it_is_named(tmp_path: Path) -> None:
    ran = prepared(tmp_path, table([ROWS[2]]))
    assert ran.code == 1
    assert f"slt-cache eval --manifest {tmp_path / 'manifest.tsv'} --run RUN" in ran.err
    assert [clip.split for clip in read_manifest(tmp_path / "run" / "manifest.tsv")] == ["test"]


def test_a_time_that_pandas_does_not_know_is_refused_with_what_to_write(tmp_path: Path) -> None:
    ran = prepared(tmp_path, f"{HEADER}\na\ttrain\ta.mp4\tnan\tnan\tGuten Tag.\n")
    assert (ran.code, "line 2: start 'nan' is not a time in the video; leave it empty" in ran.err) == (2, True)
