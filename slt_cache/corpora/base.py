"""A clip, one video segment with its one sentence; and what a corpus is: everything that a command has to know of one.
Opens no file."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

from slt_cache.corpora.characters import normalized

if TYPE_CHECKING:
    from slt_cache.config import CorpusConfig
    from slt_cache.corpora.official import MediaFile

SPLITS = ("train", "dev", "test")
MONOLINGUAL_FILE = "monolingual.txt"
"""File of sentences without video, one a line, next to the videos of a corpus that has such sentences."""


Box = tuple[float, float, float, float]
"""Left, top, right and bottom of a part of a frame, as shares of its width and height."""


class Origin(NamedTuple):
    """Where a clip comes from, in a manifest of several corpora or languages; empty where it does not say."""

    corpus: str = ""
    language: str = ""


NOWHERE = Origin()


@dataclass(frozen=True, slots=True)
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
    box: Box | None = None
    """The part of the frames that is read; None for whole frames."""
    corpus: str = ""
    """Name of the corpus that it comes from, in a manifest of several."""
    language: str = ""
    """Short name of the sentence's language (corpora/languages.py), in a manifest that says so."""

    @property
    def origin(self) -> Origin:
        return Origin(self.corpus, self.language)


OTHER_SPLITS = {
    "train": ("training", "trn", "tr"),
    "dev": ("val", "valid", "validation", "validate", "development", "devel", "develop"),
    "test": ("testing", "tst", "te", "eval", "evaluation", "heldout"),
}
"""Names of the splits in other data sets."""


def own_name(split: str) -> str | None:
    """Returns the name that a split has here, such as dev for `Validation`; None for an unknown name."""
    found = normalized(split).strip().lower()
    return next((name for name in SPLITS if found == name or found in OTHER_SPLITS[name]), None)


def no_such_split(split: str, also: str = "") -> str:
    """Returns a message that lists the splits and names the one that is meant; `also` is one more allowed word."""
    meant = own_name(split)
    hint = f"; write {meant}" if meant is not None else ""
    return f"{split!r} is not one of {', '.join(SPLITS)}{also}{hint}"


def of_split(clips: Iterable[Clip], split: str) -> list[Clip]:
    """Returns the clips of one split, in manifest order."""
    return [clip for clip in clips if clip.split == split]


def count_by_split(items: Iterable[Any]) -> dict[str, int]:
    """Counts the items of each split; works for anything that has a split."""
    counts = Counter(item.split for item in items)
    return {split: counts[split] for split in SPLITS}


def languages_of(clips: Iterable[Clip]) -> list[str]:
    """Returns the languages of the sentences, sorted, as far as they have one."""
    return sorted({clip.language for clip in clips} - {""})


Problems = dict[str, list[str]]
"""Irregularities by kind; each entry names the clip, the line or the file."""


@dataclass(frozen=True)
class CorpusScan:
    """A corpus as its files describe it and as it is on disk."""

    clips: list[Clip]
    named: dict[str, int]
    """Rows of the annotation by split, including those without a video."""
    problems: Problems = field(default_factory=dict)
    findings: dict[str, Any] = field(default_factory=dict)
    """Facts that are no problem: which files were used, the longest and the shortest clips."""
    sources: list[Path] = field(default_factory=list)
    """The annotation files."""
    lines: Mapping[str, int] = field(default_factory=dict)
    """Line of each clip, by id, in a table that the user wrote."""
    media: Mapping[Path, "MediaFile"] = field(default_factory=dict)
    """Lengths of the videos that were opened or counted."""


@dataclass(frozen=True)
class PlannedSize:
    """The size of a corpus that is not on disk yet."""

    clips: Mapping[str, int]
    """Clips by split."""
    frames: Mapping[str, float]
    """Frames by split, before the keep rate."""
    sentences: int
    """Sentences for pre-training."""
    source: str
    """Origin of the numbers, as the end of a sentence."""
    words: float | None = None
    """Mean words of a sentence; None if there are no sentences yet."""


@dataclass(frozen=True)
class SplitSize:
    """One split as published."""

    rows: int
    """Rows of the annotation."""
    frames: float = 0
    """Source frames, for estimates while the corpus is not at hand."""
    ready_cut: int | None = None
    """Clips that are distributed already cut (How2Sign), some of which are missing; None if there is one for each
    row."""
    in_paper: int | None = None
    """Clips as Chen et al. 2024 count them; None if they count the rows."""

    @property
    def clips(self) -> int:
        """Returns the clips of a training, for estimates: those of the paper."""
        return self.rows if self.in_paper is None else self.in_paper

    @property
    def numbers(self) -> tuple[int, ...]:
        """Returns the rows, followed by the other numbers of clips that were published."""
        return self.rows, *(number for number in (self.ready_cut, self.in_paper) if number is not None)

    def __str__(self) -> str:
        also = [(self.ready_cut, "ready-cut clips"), (self.in_paper, "clips in the paper")]
        return ", ".join(
            [f"{self.rows:,} rows", *(f"{number:,} {what}" for number, what in also if number is not None)]
        )


class Corpus(Protocol):
    """Everything that is known of one corpus. To add one, write a file with a subclass and an instance `CORPUS` of it,
    and name the file in corpora/registry.py."""

    config: str = "tsv"
    """Name of the shipped config that `prepare` starts from."""
    root_holds: str | None = None
    """Content of the folder corpus.root, for messages; None if the corpus needs no such folder."""
    is_drawn: bool = False
    """Whether the clips are drawn here and stand in for a real corpus."""
    is_own: bool = False
    """Whether the user wrote the annotation and can correct what would stop a training."""
    has_captions: bool = False
    """Whether its sentences are captions, to which corpus.shift and the settings after it apply."""
    notice: str = ""
    """Notice for the cards of models that were trained on it."""
    frame_rate: float | None = None
    """Frames per second of its folders of frames; None if it has none or if the rate is unknown."""
    preset: str | None = None
    """Scoring preset of the corpus; None for the one that suits the language."""
    published: ClassVar[Mapping[str, SplitSize]] = {}
    """Published size of each split; empty for a corpus that is not an official one."""

    def read(self, settings: "CorpusConfig", folder: Path, may_replace: Callable[[], bool]) -> CorpusScan:
        """Reads the corpus in a folder, which is there unless the corpus is drawn. `may_replace` says whether a drawn
        corpus with different settings may be deleted. Raises InputError if there is nothing to read or if it is
        broken."""
        ...

    def decided(self, settings: "CorpusConfig") -> dict[str, Any]:
        """Returns settings of the section `corpus` that its files decide, for `prepare` to save. Raises InputError for
        files that cannot be read."""
        return {}

    def language_code(self, settings: "CorpusConfig") -> str | None:
        """Returns MBart's code of the sentences' language; None if only the user knows it."""
        return None

    def planned(self, settings: "CorpusConfig") -> PlannedSize | None:
        """Returns the size to expect without reading any file; None if it is unknown."""
        if not self.published:
            return None
        clips = {split: size.clips for split, size in self.published.items()}
        frames = {split: size.frames for split, size in self.published.items()}
        return PlannedSize(clips, frames, clips["train"], "as published: corpus.root is not set")
