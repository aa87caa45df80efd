"""Exit code 2 if the annotation is to blame for a split without a clip, 1 if the videos are missing."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from slt_cache.corpora.base import Clip, CorpusScan
from slt_cache.corpora.empty_splits import unusable_splits
from slt_cache.corpora.registry import corpus_named
from tests.helpers import published
from tests.helpers.commands import TINY, Ran, slt_cache

VIDEOS = ("-aBc_dEf012", "bbbbbbbbbbb", "ccccccccccc")


def prepared(root: Path, change: Callable[[str], str], *videos: str) -> Ran:
    published.openasl(root)
    for name in videos:
        (root / f"{name}.mp4").write_bytes(name.encode())
    table = root / "data" / "openasl-v1.0.tsv"
    table.write_text(change(table.read_text(encoding="utf-8")), encoding="utf-8")
    return slt_cache("prepare", "openasl", "--root", root, "--run", root.parent / "run", "--config", TINY)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda text: text.replace("\tWe are done.", ""), "row that cannot be read (left out)"),
        (lambda text: text.replace("00:00:00.840\t", "00:00:00.000\t"), "row that cannot be read (left out)"),
        (lambda text: text.replace("We are done.", " "), "empty sentence (left out)"),
        (lambda text: text.replace("ccccccccccc", "ddddddddddd"), "on disk but not named"),
    ],
)
def test_a_damaged_annotation_is_named(tmp_path: Path, change: Callable[[str], str], fault: str) -> None:
    ran = prepared(tmp_path / "root", change, *VIDEOS)
    assert ran.code == 2
    assert f"no clip with a video in test; the annotation is damaged or belongs to other videos ({fault})" in ran.err
    assert (tmp_path / "run" / "manifest.tsv").is_file()


def test_a_split_without_published_size_may_lack_its_videos_as_long_as_others_have_theirs(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    clips = [
        Clip(name, split, tmp_path / f"{name}.mp4", None, None, name) for name, split in (("a", "train"), ("b", "test"))
    ]
    named = {"train": 1, "dev": 0, "test": 1}
    assert unusable_splits(corpus_named("isign"), CorpusScan(clips, named)) == []
    assert unusable_splits(corpus_named("isign"), CorpusScan(clips[1:], named)) == ["train", "test"]
    assert unusable_splits(corpus_named("openasl"), CorpusScan(clips, named)) == ["dev", "test"]
    assert unusable_splits(corpus_named("tsv"), CorpusScan(clips[1:], named)) == []


def test_missing_videos_and_a_split_without_rows_are_no_fault_of_the_annotation(tmp_path: Path) -> None:
    assert prepared(tmp_path / "root", lambda text: text, *VIDEOS[:2]).code == 1
    shutil.rmtree(tmp_path / "root")
    ran = prepared(tmp_path / "root", lambda text: "\n".join(text.splitlines()[:-1]) + "\n", *VIDEOS)
    assert (ran.code, "no clip with a video in test. See" in ran.err) == (1, True)
