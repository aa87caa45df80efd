"""A clip, one video segment with its one sentence. Opens no file."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from slt_cache.corpora.characters import normalized

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


OTHER_SPLITS = {
    "train": ("training", "trn", "tr"),
    "dev": ("val", "valid", "validation", "validate", "development", "devel", "develop"),
    "test": ("testing", "tst", "te", "eval", "evaluation", "heldout"),
}
"""What other data sets call the splits."""


def own_name(split: str) -> str | None:
    """What a split of another name is called here, such as dev for `Validation`; None for a name that nobody uses."""
    found = normalized(split).strip().lower()
    return next((name for name in SPLITS if found == name or found in OTHER_SPLITS[name]), None)


def no_such_split(split: str, also: str = "") -> str:
    """Says which splits there are, and which of them is meant; `also` is one more word that may stand there."""
    meant = own_name(split)
    hint = f"; write {meant}" if meant is not None else ""
    return f"{split!r} is none of {', '.join(SPLITS)}{also}{hint}"


def of_split(clips: Iterable[Clip], split: str) -> list[Clip]:
    """The clips of one split, in manifest order."""
    return [clip for clip in clips if clip.split == split]
