"""What a layout is: how others keep the features of their clips on disk, read as a listing of clips and their files,
and written by an export. A layout opens no features before they are imported."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np

from slt_cache.cache_tools.table import ListedClip, ListedView
from slt_cache.corpora.base import own_name
from slt_cache.corpora.characters import nfc, normalized
from slt_cache.corpora.official import without_breaks
from slt_cache.errors import InputError
from slt_cache.features.cache import FeatureCache
from slt_cache.features.clip_names import MAX_NAME
from slt_cache.features.layout import canonical
from slt_cache.progress import log

MAX_SHOWN = 5
"""Names in a message."""
Texts = Mapping[str, Mapping[str, str]]
"""Split -> clip id -> sentence, in the order of the labels."""


@dataclass(frozen=True)
class Asked:
    """What the user says about a folder."""

    labels: Path | None = None
    """A file, or a folder of files, with the sentences; None for those in the folder."""
    stream: str | None = None
    """Which of several features of each clip to import; None for all."""
    transpose: bool = False
    """Whether features are [C, N] on disk."""


@dataclass(frozen=True)
class Listing:
    """The clips of a folder, with the features of one stream."""

    splits: dict[str, list[ListedClip]]
    """Clips by split, in the order of the labels."""
    sources: tuple[Path, ...] = ()
    """Files that name the clips, such as labels."""
    remarks: Callable[[], Iterable[str]] = tuple
    """Returns what was noticed about the features that have been read."""


Listings = Mapping[str, Listing]
"""Stream -> its clips. Features without a name are the stream ""."""


class Layout(Protocol):
    """One way to keep features on disk. A module in this folder has one instance, `LAYOUT`."""

    names_streams: bool
    """Whether the names of exported files have that of their stream."""

    def recognizes(self, folder: Path) -> bool:
        """Returns whether the folder looks like this layout. Opens at most one file."""

    def list_clips(self, folder: Path, asked: Asked) -> Listings:
        """Returns the clips with the files of their features, of the stream that was asked for or of all. Raises
        InputError if the folder has another layout."""

    def write(self, caches: Sequence[FeatureCache], out: Path, stream: str | None) -> None:
        """Writes view 0 of all clips and their sentences into the empty folder `out`, named after the stream if the
        layout names streams; None for its usual one. Raises InputError if this layout cannot hold them."""


@dataclass
class Clips:
    """Collects clips whose features stand next to their sentences, and refuses those that a cache cannot hold."""

    where: Path
    """The folder, for errors."""
    splits: dict[str, dict[str, ListedClip]] = field(default_factory=dict)

    def add(self, split: str, clip_id: str, text: object, view: ListedView) -> None:
        """Adds a clip. Raises InputError, naming the view's file, for a clip without id or sentence, and for one that
        is already there."""
        clip_id = own_id(clip_id, split)
        clips = self.splits.setdefault(split, {})
        if clip_id in clips:
            raise InputError(f"{view.file}: clip {clip_id!r} is already in {split}. Remove one of them.")
        clips[clip_id] = ListedClip(clip_id, own_text(text, f"{view.file}: clip {clip_id!r}"), (view,))

    def listing(self, *sources: Path) -> Listing:
        return Listing(
            {split: list(self.splits[split].values()) for split in sorted(self.splits, key=canonical)}, sources
        )


def own_id(clip_id: str, split: str) -> str:
    """Returns a clip's id in its composed form, without the name of its split before it (`dev/clip`)."""
    head, slash, tail = nfc(clip_id).partition("/")
    return tail if slash and tail and own_name(head) == split else nfc(clip_id)


def own_text(text: object, where: str) -> str:
    """Returns a sentence without tabs and line breaks. Raises InputError that begins with `where` if it is empty."""
    if not isinstance(text, str) or not normalized(text).strip():
        raise InputError(f"{where} has no sentence. Correct the labels.")
    return without_breaks(text).strip()


def splits_below(folder: Path, pattern: str, depth: int = 3) -> dict[str, list[Path]]:
    """Returns split -> the files that match a pattern in folders named like a split, at most `depth` folders down."""
    found: dict[str, list[Path]] = {}
    for level in range(depth + 1):
        for path in sorted(folder.glob("*/" * level + pattern)):
            if (split := own_name(path.parent.name)) is not None and path.is_file():
                found.setdefault(split, []).append(path)
    return found


def file_name(clip_id: str) -> str:
    """Returns the id, whose slashes name folders, as a file name without suffix. Raises InputError for an id that is
    none."""
    parts = clip_id.split("/")
    if any(part in ("", ".", "..") or len(part.encode()) > MAX_NAME or not part.isprintable() for part in parts):
        raise InputError(f"clip {clip_id!r}: its id is no file name. Export without --layout.")
    return clip_id


def each_clip(caches: Iterable[FeatureCache]) -> Iterable[tuple[str, str, str, np.ndarray]]:
    """Yields split, id, sentence and features [N, C] of view 0 of every clip, one at a time."""
    for cache in caches:
        for clip_id, text in zip(cache.ids, cache.texts, strict=True):
            yield cache.split, clip_id, text, cache[clip_id]


def named(names: Iterable[object], of: int | None = None) -> str:
    """Returns the first names of many, and how many more there are."""
    shown = [str(name) for name in names]
    more = (len(shown) if of is None else of) - MAX_SHOWN
    return ", ".join(shown[:MAX_SHOWN]) + (f" and {more:,} more" if more > 0 else "")


def report_extra(folder: Path, extra: Collection[object], reason: str) -> None:
    """Logs the places in the folder that are not imported."""
    if extra:
        shown = named(str(one).removeprefix(f"{folder}/") for one in extra)
        log(f"{folder}: {len(extra):,} not imported, since {reason}: {shown}")


def transposing(splits: Mapping[str, list[ListedClip]]) -> dict[str, list[ListedClip]]:
    """Returns the clips with features that are transposed when they are read: [C, N] on disk."""
    return {
        split: [
            ListedClip(
                clip.clip_id,
                clip.text,
                tuple(
                    ListedView(
                        view.file, view.num_frames, view.fps, view.source, partial(_transposed, view.read), view.origin
                    )
                    for view in clip.views
                ),
            )
            for clip in clips
        ]
        for split, clips in splits.items()
    }


def _transposed(read: Callable[[Path], np.ndarray], path: Path) -> np.ndarray:
    return read(path).T
