"""Files that are named by their clip and, by what follows its id, a stream (`ID_s2wrapping.npy`), in folders by split
or not: what the layouts of such files share."""

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from slt_cache.cache_tools.arrays import read_features
from slt_cache.cache_tools.export import TABLE, require_writable
from slt_cache.cache_tools.layouts.base import Asked, Listing, Listings, Texts, named, report_extra
from slt_cache.cache_tools.layouts.labels import COLUMNS, find_labels, label_files
from slt_cache.cache_tools.table import ListedClip, ListedView
from slt_cache.corpora.base import own_name
from slt_cache.corpora.characters import nfc
from slt_cache.errors import InputError
from slt_cache.features.cache import FeatureCache
from slt_cache.features.clip_names import stem_of
from slt_cache.progress import log

SEPARATORS = "_-."
"""Characters that separate the stream from the id."""


@dataclass(frozen=True)
class Place:
    """Where the features of one clip are."""

    file: Path
    dataset: str = ""
    """Path of the dataset in an HDF5 file."""

    def __str__(self) -> str:
        return f"{self.file} {self.dataset}".strip()


class Index:
    """Finds the features of a clip among the files of a folder."""

    def __init__(self, folder: Path, texts: Texts):
        self.folder = folder
        self.forms = {
            form: clip_id for clips in texts.values() for clip_id in clips for form in (stem_of(clip_id), clip_id)
        }
        self.places: dict[tuple[str, str], list[Place]] = {}
        """Clip id and stream -> places; several if there is one for each split."""

    def owner(self, file: Path) -> tuple[str, str] | None:
        """Returns clip id and stream of a file; None if its name begins with no clip's id."""
        return _owner(nfc(file.relative_to(self.folder).with_suffix("").as_posix()), self.forms)

    def add(self, owner: tuple[str, str], place: Place) -> None:
        self.places.setdefault(owner, []).append(place)

    @property
    def streams(self) -> dict[str, int]:
        """Each stream -> number of its clips."""
        return dict(Counter(stream for _, stream in self.places))

    def find(self, clip_id: str, split: str, stream: str, suffix: str) -> Place:
        """Returns the place of a clip; of several, that in a folder of the split, or else in a file whose name has that
        of the split, preferably not as a part of the clip's id. If there is none, returns the file that it should be.
        Raises InputError if several remain."""
        found = self.places.get((clip_id, stream), [])
        for names in (self._folders, partial(_parts_of_stem, without=clip_id), _parts_of_stem):
            found = [place for place in found if split in map(own_name, names(place))] or found
        if len(found) > 1:
            others = ", ".join(map(str, found[:2]))
            raise InputError(f"{others}: two files of clip {clip_id!r} of {split}. Remove one of them.")
        return found[0] if found else Place(self.folder / split / f"{clip_id}{stream.partition('/')[0]}{suffix}")

    def _folders(self, place: Place) -> list[str]:
        return [*place.file.relative_to(self.folder).parts[:-1], *place.dataset.split("/")[:-1]]


def _parts_of_stem(place: Place, without: str = "") -> list[str]:
    """Returns the parts of a file's name between separators, without a clip's id or a part of its path."""
    other = f"[^{re.escape(SEPARATORS)}]"
    own = re.escape(without).replace("/", "|")
    return re.findall(f"{other}+", re.sub(f"(?<!{other})({own})(?!{other})", "", nfc(place.file.stem)))


def _owner(name: str, forms: Mapping[str, str]) -> tuple[str, str] | None:
    """Returns the longest clip id that ends the folders and begins the last part of a name, and what follows it."""
    for start, stream in _halves(name):
        parts = start.split("/")
        for first in range(len(parts)):
            if (form := "/".join(parts[first:])) in forms:
                return forms[form], stream
    return None


def _halves(name: str) -> Iterator[tuple[str, str]]:
    """Yields a name, whole and split before each separator of its last part, the longest beginning first."""
    yield name, ""
    for place in range(len(name) - 1, name.rfind("/") + 1, -1):
        if name[place] in SEPARATORS:
            yield name[:place], name[place:]


def files_below(folder: Path, suffixes: Collection[str], without: Collection[Path] = ()) -> list[Path]:
    """Returns all files with one of the suffixes. Raises InputError if there are none."""
    files = [
        path
        for path in sorted(folder.rglob("*"))
        if path.suffix in suffixes and path not in without and path.is_file() and not path.name.startswith(".")
    ]
    if not files:
        raise InputError(f"{folder}: no {' or '.join(suffixes)} files in it. Name the folder of the features.")
    return files


def chosen_streams(folder: Path, streams: Mapping[str, int], asked: str | None, of: str = "clips") -> list[str]:
    """Returns the streams to import: the one that was named; else that without a name, logging the others, or all if
    there is none. Raises InputError that lists all if there is no such stream."""
    if not streams:
        raise InputError(f"{folder}: no file is named by a clip of the labels. Name other labels: --labels FILE")
    shown = [f"{name or '(none)'} ({count:,} {of})" for name, count in sorted(streams.items())]
    if asked is None and "" in streams:
        if len(streams) > 1:
            others = f"streams not imported: {named(shown[1:])}; name one with --stream"
            log(f"{folder}: only the features without a name are imported; {others}")
        return [""]
    if asked is None:
        return sorted(streams)
    found = [name for name in streams if name == asked] or [n for n in streams if n.strip(SEPARATORS) == asked]
    if not found:
        raise InputError(f"{folder}: no stream {asked!r}; there are {', '.join(shown)}. Name one of them: --stream")
    return found[:1]


def list_places(index: Index, texts: Texts, stream: str, suffix: str, reader: "Reader") -> dict[str, list[ListedClip]]:
    """Returns the clips of the labels; one without a place becomes a failure when it is read. Places of these clips
    that are not read are logged."""
    splits: dict[str, list[ListedClip]] = {}
    unread = {place: None for (_, of), places in index.places.items() if of == stream for place in places}
    for split, clips in texts.items():
        for clip_id, text in clips.items():
            place = index.find(clip_id, split, stream, suffix)
            unread.pop(place, None)
            view = ListedView(place.file, 0, 0.0, "", reader(place))
            splits.setdefault(split, []).append(ListedClip(clip_id, text, (view,)))
    report_extra(index.folder, unread, "another file of the clip has the folder or name of its split")
    return splits


Reader = Callable[[Place], Callable[[Path], np.ndarray]]
"""Returns the function that reads the features of a place."""


def list_files(
    folder: Path, asked: Asked, suffixes: Collection[str], read: Callable[[Path], np.ndarray] = read_features
) -> Listings:
    """Returns the clips of the labels with the files that have their ids. Files of no clip are logged."""
    texts, sources = find_labels(folder, asked.labels)
    files = files_below(folder, suffixes, without={*sources, *label_files(folder)})
    index = Index(folder, texts)
    unowned = []
    for path in files:
        if (owner := index.owner(path)) is not None:
            index.add(owner, Place(path))
        else:
            unowned.append(path)
    streams = {
        stream: list_places(index, texts, stream, files[0].suffix, lambda _: read)
        for stream in chosen_streams(folder, index.streams, asked.stream)
    }
    extra = [path for path in unowned if path.stem.endswith(tuple(streams))]
    report_extra(folder, extra, f"{named(source.name for source in sources)} names no such clip")
    return {stream: Listing(splits, sources) for stream, splits in streams.items()}


def suffix_of(stream: str | None, usual: str = "") -> str:
    """Returns what follows the id in the name of an exported file."""
    if stream is None:
        return usual
    return stream if stream[0] in SEPARATORS else f"_{stream}"


def write_labels(caches: Sequence[FeatureCache], out: Path) -> None:
    """Writes the sentences as a table that `find_labels` reads."""
    lines = ["\t".join(COLUMNS)]
    for cache in caches:
        require_writable(cache)
        lines += [f"{clip_id}\t{cache.split}\t{text}" for clip_id, text in zip(cache.ids, cache.texts, strict=True)]
    (out / TABLE).write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")
