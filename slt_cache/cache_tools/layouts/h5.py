"""HDF5: one `ID.h5` per clip with its features as a dataset (SLTK: `ID_wilor.h5`), or files that hold many clips, as
`ID`, `VIDEO/CLIP` or `ID/STREAM` (How2Sign-style). Datasets are [N, C], or [N, K, D] for K points. Sentences come from
a table or from label files."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import h5py
import numpy as np

from slt_cache.cache_tools.arrays import BadFile, flat
from slt_cache.cache_tools.layouts.base import Asked, Listing, Listings, each_clip, file_name, named, report_extra
from slt_cache.cache_tools.layouts.files import (
    Index,
    Place,
    chosen_streams,
    files_below,
    list_places,
    suffix_of,
    write_labels,
)
from slt_cache.cache_tools.layouts.labels import find_labels
from slt_cache.corpora.characters import nfc
from slt_cache.errors import InputError
from slt_cache.features.cache import FeatureCache

SUFFIXES = (".h5", ".hdf5")
DATASET = "features"
"""Name of the dataset in exported files."""


class H5:
    names_streams = True

    def recognizes(self, folder: Path) -> bool:
        return any(next(folder.rglob(f"*{suffix}"), None) for suffix in SUFFIXES)

    def list_clips(self, folder: Path, asked: Asked) -> Listings:
        texts, sources = find_labels(folder, asked.labels)
        index, files = Index(folder, texts), files_below(folder, SUFFIXES)
        unowned = [place for path in files for place in _add(index, path)]
        streams = chosen_streams(folder, index.streams, asked.stream)
        report_extra(folder, unowned, f"{named(source.name for source in sources)} names no such clip")
        return {one: Listing(list_places(index, texts, one, files[0].suffix, _reader), sources) for one in streams}

    def write(self, caches: Sequence[FeatureCache], out: Path, stream: str | None) -> None:
        for split, clip_id, _, features in each_clip(caches):
            path = out / split / f"{file_name(clip_id)}{suffix_of(stream)}.h5"
            path.parent.mkdir(parents=True, exist_ok=True)
            with h5py.File(path, "w") as file:
                file[DATASET] = features
        write_labels(caches, out)


def _add(index: Index, path: Path) -> list[Place]:
    """Adds the datasets of a file to the index. Returns those that belong to no clip."""
    owner = index.owner(path)
    try:
        datasets = _datasets(path)
    except OSError as error:
        if owner is None:
            raise InputError(f"{path}: not an HDF5 file, or cut off. Get it again, or remove it.") from error
        index.add(owner, Place(path))  # its clip becomes a failure
        return []
    unowned: list[Place] = []
    for name in datasets:
        inside = _inner_owner(name, index)
        if inside is not None:
            index.add(inside, Place(path, name))
        elif owner is not None:
            index.add(
                (owner[0], "/".join(filter(None, (owner[1], name if len(datasets) > 1 else "")))), Place(path, name)
            )
        else:
            unowned.append(Place(path, name))
    return unowned


def _datasets(path: Path) -> list[str]:
    """Returns the paths of the datasets of numbers; those with one axis only if there is no other."""
    found: dict[str, int] = {}

    def visit(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset) and item.dtype.kind in "fiu" and item.ndim:
            found[name] = item.ndim

    with h5py.File(path, "r") as file:
        file.visititems(visit)
    return [name for name, axes in found.items() if axes > 1] or list(found)


def _inner_owner(name: str, index: Index) -> tuple[str, str] | None:
    """Returns the longest clip id within the path of a dataset, and what follows it."""
    parts = nfc(name).split("/")
    spans = [(first, end) for first in range(len(parts)) for end in range(first + 1, len(parts) + 1)]
    for first, end in sorted(spans, key=lambda span: span[0] - span[1]):
        if (form := "/".join(parts[first:end])) in index.forms:
            return index.forms[form], "/".join(parts[end:])
    return None


def _reader(place: Place) -> Callable[[Path], np.ndarray]:
    return partial(_read, place.dataset)


def _read(dataset: str, path: Path) -> np.ndarray:
    if not path.is_file():
        raise BadFile("no such file, and no dataset of this clip in another")
    try:
        with h5py.File(path, "r") as file:
            return flat(file[dataset or "/"][()])
    except BadFile:
        raise
    except Exception as error:  # h5py raises several kinds for damage
        raise BadFile(f"dataset {dataset!r} cannot be read, or the file is cut off ({type(error).__name__})") from error


LAYOUT = H5()
