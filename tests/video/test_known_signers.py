"""`prepare --find-signer`: the signer of each clip is found once, whatever ends the command in between."""

import csv
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from slt_cache.corpora.base import Box, Clip
from slt_cache.holistic import child
from slt_cache.video import known_signers
from slt_cache.video.signer import signer_boxes
from slt_cache.video.stream import UnreadableVideo
from tests.helpers.commands import TINY, Ran, slt_cache
from tests.helpers.fake_mediapipe import FINE, NO_BODY, write_fake_mediapipe, write_frames

Found = Box | UnreadableVideo | None
BOX = "0.2,0.1,0.8,1.0"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A corpus of five clips: one has a box, and one shows nobody."""
    monkeypatch.setenv("PYTHONPATH", str(write_fake_mediapipe(tmp_path / "packages")))
    child.installed.cache_clear()
    running: dict[tuple[int, str | None], child.Holistic] = {}
    monkeypatch.setattr(child, "_running", running)
    lines = ["id\tsplit\tvideo\tstart\tend\ttext\tbox"]
    for name, split, order in (("a", "train", FINE), ("b", "dev", FINE), ("c", "test", NO_BODY), ("d", "train", FINE)):
        write_frames(tmp_path / "own" / name, [order] * 3)
        lines.append(f"{name}\t{split}\t{name}\t\t\tein satz {name}\t{BOX if name == 'd' else ''}")
    (tmp_path / "own" / "manifest.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    yield tmp_path / "own"
    for one in running.values():
        one.end()
    child.installed.cache_clear()


def prepare(root: Path, *words: str) -> tuple[Ran, dict[str, str]]:
    """Returns what the command said, and the box of each clip. A run that is there keeps its settings."""
    config = () if (root / "run").exists() else ("--config", TINY)
    ran = slt_cache("prepare", "tsv", "--root", root, "--run", root / "run", *config, *words)
    with (root / "run" / "manifest.tsv").open(encoding="utf-8") as file:
        return ran, {row["id"]: row["box"] for row in csv.DictReader(file, delimiter="\t")}


def asked_for(monkeypatch: pytest.MonkeyPatch, root: Path, *words: str) -> list[str]:
    """Prepares; returns the clips whose signer is looked for."""
    asked: list[str] = []

    def find(clips: Sequence[Clip], python: str | None, workers: int) -> Iterator[Found]:
        asked.extend(clip.id for clip in clips)
        return signer_boxes(clips, python, workers)

    monkeypatch.setattr(known_signers, "signer_boxes", find)
    prepare(root, *words)
    return asked


def test_boxes_are_found_kept_and_reported(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran, boxes = prepare(root, "--find-signer")
    assert "no person found (whole frames are read): 1 (c" in ran.err
    assert "signers found in 2 of 3 clips without a box" in ran.err
    assert boxes["a"] == boxes["b"] != "" and boxes["c"] == "" and boxes["d"] == BOX
    monkeypatch.setattr(known_signers, "signer_boxes", lambda *_: pytest.fail("found again"))
    again, same = prepare(root)  # the run's settings have it now
    assert same == boxes and "no person found (whole frames are read): 1 (c" in again.err


def test_only_new_and_changed_clips_are_looked_at(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(root, "--find-signer")
    write_frames(root / "e", [FINE] * 3)
    with (root / "manifest.tsv").open("a", encoding="utf-8") as file:
        file.write("e\ttrain\te\t\t\tnoch einer\t\n")
    os.utime(root / "b", ns=(1, 1))
    assert asked_for(monkeypatch, root) == ["b", "e"]


def test_what_was_found_before_an_interruption_is_kept(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(clips: Sequence[Clip], python: str | None, workers: int) -> Iterator[Found]:
        yield next(signer_boxes(clips, python, workers))
        raise KeyboardInterrupt

    monkeypatch.setattr(known_signers, "signer_boxes", interrupted)
    ran = slt_cache("prepare", "tsv", "--root", root, "--run", root / "run", "--config", TINY, "--find-signer")
    assert ran.code == 130 and not (root / "run" / "manifest.tsv").exists()
    assert asked_for(monkeypatch, root, "--find-signer") == ["b", "c"]


def test_without_mediapipe_it_is_refused_with_what_to_install(root: Path) -> None:
    words = ("--find-signer", "--set", "encoder.python=/nowhere/python")
    ran = slt_cache("prepare", "tsv", "--root", root, "--run", root / "run", "--config", TINY, *words)
    assert ran.code == 2 and len(ran.err.splitlines()) == 1
    assert "--find-signer: encoder.python /nowhere/python cannot run MediaPipe" in ran.err
    assert "pip install mediapipe==" in ran.err and not (root / "run" / "manifest.tsv").exists()
