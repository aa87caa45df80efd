"""Exit code 2 if the annotation is to blame for a split without a clip, 1 if the videos are missing."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

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


def test_missing_videos_and_a_split_without_rows_are_no_fault_of_the_annotation(tmp_path: Path) -> None:
    assert prepared(tmp_path / "root", lambda text: text, *VIDEOS[:2]).code == 1
    shutil.rmtree(tmp_path / "root")
    ran = prepared(tmp_path / "root", lambda text: "\n".join(text.splitlines()[:-1]) + "\n", *VIDEOS)
    assert (ran.code, "no clip with a video in test. See" in ran.err) == (1, True)
