"""A clip, one video segment with its one sentence. Opens no file."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

SPLITS = ("train", "dev", "test")
MONOLINGUAL_FILE = "monolingual.txt"
"""Sentences without video, one a line, beside the videos of a corpus that has them."""


@dataclass(frozen=True)
class Clip:
    """One video segment with its one sentence."""

    id: str
    split: str
    video: Path
    """A video file or a folder of frames."""
    start: float | None
    """Seconds from the beginning of the video; None for its first frame."""
    end: float | None
    """Seconds from the beginning of the video; None for its last frame."""
    text: str
    signer: str = ""


def of_split(clips: Iterable[Clip], split: str) -> list[Clip]:
    """The clips of one split, in manifest order."""
    return [clip for clip in clips if clip.split == split]
