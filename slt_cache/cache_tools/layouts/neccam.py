"""neccam/slt (Sign Language Transformers): `NAME.train`, `NAME.dev` and `NAME.test`, each a gzipped pickle of a list of
{name, signer, gloss, text, sign}, where sign is the tensor [N, C]. NAME is the stream. Nothing is unpickled by Python:
the features go to a temporary file as they are read, and from there into the cache."""

import gzip
import pickle
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from slt_cache.cache_tools.arrays import BadFile, flat
from slt_cache.cache_tools.layouts.base import Asked, Clips, Listing, Listings, Texts, own_id
from slt_cache.cache_tools.layouts.files import chosen_streams
from slt_cache.cache_tools.layouts.labels import find_labels, is_pickled, pickled_name
from slt_cache.cache_tools.layouts.pickled_arrays import PickledArray, holds_dict, load_arrays
from slt_cache.cache_tools.table import ListedView
from slt_cache.errors import InputError
from slt_cache.features.cache import FeatureCache
from slt_cache.progress import log

EXPORTED = "features"
ARRAYS = (".npy", ".pt", ".pkl", ".h5", ".hdf5")
"""Suffixes of files with features of other layouts."""


class Neccam:
    names_streams = True

    def recognizes(self, folder: Path) -> bool:
        """Returns whether there are pickles of splits that are no mere labels for files with features."""
        found = list(filter(is_pickled, _files(folder)))
        others = (path for kind in ARRAYS for path in folder.rglob(f"*{kind}") if path not in found)
        return bool(found) and next(others, None) is None and not holds_dict(found[0])

    def list_clips(self, folder: Path, asked: Asked) -> Listings:
        by_stream: dict[str, list[tuple[str, Path]]] = {}
        for path in _files(folder):
            if (found := pickled_name(path)) is not None:
                by_stream.setdefault(found[0], []).append((found[1], path))
        if not by_stream:
            raise InputError(f"{folder}: no files NAME.train, NAME.dev or NAME.test. Name the folder of these.")
        streams = {name: len(paths) for name, paths in by_stream.items()}
        texts, sources = find_labels(folder, asked.labels) if asked.labels is not None else ({}, ())
        return {
            stream: _listing(folder, by_stream[stream], texts, sources)
            for stream in chosen_streams(folder, streams, asked.stream, "splits")
        }

    def write(self, caches: Sequence[FeatureCache], out: Path, stream: str | None) -> None:
        for cache in caches:
            with gzip.open(out / f"{stream or EXPORTED}.{cache.split}", "wb") as file:
                pickler = pickle.Pickler(file, protocol=4)
                pickler.fast = True  # remembers no object, so that memory does not grow
                pickler.dump(_Streamed(partial(_written, cache)))


def _listing(folder: Path, paths: Iterable[tuple[str, Path]], texts: Texts, sources: Iterable[Path]) -> Listing:
    """Returns the clips of the files of one stream."""
    clips = Clips(folder)
    for split, path in paths:
        log(f"{path}: unpacking")
        for item in _items(path):
            text = texts.get(split, {}).get(own_id(item["name"], split), item.get("text"))
            clips.add(split, item["name"], text, ListedView(path, 0, 0.0, "", partial(_read, item.get("sign"))))
    return clips.listing(*sources)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file())


def _items(path: Path) -> list[dict[str, Any]]:
    content = load_arrays(path, spooled=True)
    if not isinstance(content, list):
        raise InputError(f"{path}: a {type(content).__name__} instead of a list of clips. Is this of neccam/slt?")
    for number, item in enumerate(content, start=1):
        if not isinstance(item, dict) or not isinstance(item.get("name"), str):
            raise InputError(f"{path}: item {number} has no name. Is this of neccam/slt?")
    return content


def _read(sign: Any, path: Path) -> np.ndarray:
    if not isinstance(sign, PickledArray):
        raise BadFile(f"{type(sign).__name__} instead of a tensor")
    return flat(sign.array())


class _Streamed:
    """Pickles as the list of what the iterator yields."""

    def __init__(self, items: Callable[[], Iterator[Any]]):
        self.items = items

    def __reduce__(self) -> tuple[Any, ...]:
        return list, (), None, self.items()


def _written(cache: FeatureCache) -> Iterator[dict[str, Any]]:
    import torch

    for clip_id, text in zip(cache.ids, cache.texts, strict=True):
        sign = torch.from_numpy(cache[clip_id].copy())
        yield {"name": f"{cache.split}/{clip_id}", "signer": "", "gloss": "", "text": text, "sign": sign}


LAYOUT = Neccam()
