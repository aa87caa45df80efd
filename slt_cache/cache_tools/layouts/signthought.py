"""SignThought: `SPLIT/ANY.pt`, each a dict of name, signer, text and sign, where sign is the tensor [N, C]. Files are
loaded with `weights_only`. Another tensor of the dict, such as keypoint, is a stream."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from slt_cache.cache_tools.arrays import BadFile, flat, load_pt, numpy_of
from slt_cache.cache_tools.layouts.base import Asked, Clips, Listings, each_clip, own_id, splits_below
from slt_cache.cache_tools.layouts.labels import find_labels
from slt_cache.cache_tools.table import ListedView
from slt_cache.errors import InputError
from slt_cache.features.cache import FeatureCache
from slt_cache.features.clip_names import stem_of

SIGN = "sign"


class SignThought:
    names_streams = False

    def recognizes(self, folder: Path) -> bool:
        found = splits_below(folder, "*.pt")
        try:
            return bool(found) and "name" in _load(next(iter(found.values()))[0])
        except BadFile:
            return False

    def list_clips(self, folder: Path, asked: Asked) -> Listings:
        found, clips = splits_below(folder, "*.pt"), Clips(folder)
        if not found:
            raise InputError(f"{folder}: no .pt files in folders train, dev or test. Name the folder of these.")
        texts, sources = find_labels(folder, asked.labels) if asked.labels is not None else ({}, ())
        read = partial(_read, asked.stream or SIGN)
        for split, paths in found.items():
            for path in paths:
                try:
                    item = _load(path)
                except BadFile as error:
                    raise InputError(f"{path}: {error}. Get the file again, or remove it.") from error
                name = item.get("name")
                if not isinstance(name, str):
                    raise InputError(f"{path}: no name in its dict ({', '.join(map(str, item))}). Correct the file.")
                text = texts.get(split, {}).get(own_id(name, split), item.get("text"))
                clips.add(split, name, text, ListedView(path, 0, 0.0, "", read))
        return {asked.stream or "": clips.listing(*sources)}

    def write(self, caches: Sequence[FeatureCache], out: Path, stream: str | None) -> None:
        import torch

        for split, clip_id, text, features in each_clip(caches):
            (out / split).mkdir(exist_ok=True)
            item = {"name": clip_id, "signer": "", "text": text, SIGN: torch.from_numpy(features.copy())}
            torch.save(item, out / split / f"{stem_of(clip_id)}.pt")


def _load(path: Path) -> dict[str, Any]:
    try:
        item = load_pt(path)
    except Exception as error:  # torch raises its own for each kind of damage
        raise BadFile(f"not a plain .pt file, or cut off ({type(error).__name__})") from error
    if not isinstance(item, dict):
        raise BadFile(f"{type(item).__name__} instead of a dict of name, text and {SIGN}")
    return item


def _read(stream: str, path: Path) -> np.ndarray:
    item = _load(path)
    if stream not in item:
        raise BadFile(f"no {stream} in its dict ({', '.join(map(str, item))})")
    return flat(numpy_of(item[stream], path.stat().st_size))


LAYOUT = SignThought()
