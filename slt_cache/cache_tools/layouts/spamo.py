"""SpaMo: `FEATURES/SPLIT/ID_s2wrapping.npy` (spatial, CLIP) and `FEATURES/SPLIT/ID_overlap-8.npy` (motion, VideoMAE),
[N, C] with another N each, and `SPLIT_info_ml.npy`, a pickled dict of {fileid, text, ...}."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from slt_cache.cache_tools.layouts.base import Asked, Listings, each_clip, file_name
from slt_cache.cache_tools.layouts.files import list_files, suffix_of
from slt_cache.cache_tools.layouts.labels import INFO
from slt_cache.features.cache import FeatureCache

SUFFIXES = ("_s2wrapping", "_overlap-*")
EXPORTED = "_s2wrapping"
"""Suffix of exported features whose cache records none."""
SUFFIX = re.compile(r"[_.-]\w[\w.-]*")
"""Streams that can be the suffix of a file."""


class SpaMo:
    names_streams = True

    def recognizes(self, folder: Path) -> bool:
        infos = (path for base in ("", "*/", "*/*/") for path in folder.glob(f"{base}*_info*.npy"))
        if any(INFO.fullmatch(path.name) for path in infos):
            return True
        return any(next(folder.rglob(f"*{suffix}.npy"), None) for suffix in SUFFIXES)

    def list_clips(self, folder: Path, asked: Asked) -> Listings:
        return list_files(folder, asked, (".npy",))

    def write(self, caches: Sequence[FeatureCache], out: Path, stream: str | None) -> None:
        for cache in caches:
            recorded = cache.spec.stream or ""
            suffix = suffix_of(stream, recorded if SUFFIX.fullmatch(recorded) else EXPORTED)
            for split, clip_id, _, features in each_clip([cache]):
                path = out / "features" / split / f"{file_name(clip_id)}{suffix}.npy"
                path.parent.mkdir(parents=True, exist_ok=True)
                np.save(path, features, allow_pickle=False)
            clips = enumerate(zip(cache.ids, cache.texts, strict=True))
            info: dict[int | str, object] = {
                number: {"fileid": clip_id, "folder": f"{cache.split}/{clip_id}", "text": text, "gloss": ""}
                for number, (clip_id, text) in clips
            }
            info["prefix"] = ""  # its loader counts the clips as all items but one
            np.save(out / f"{cache.split}_info_ml.npy", np.array(info, dtype=object), allow_pickle=True)


LAYOUT = SpaMo()
