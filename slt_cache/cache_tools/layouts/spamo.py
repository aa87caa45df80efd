"""SpaMo: `FEATURES/SPLIT/ID_s2wrapping.npy` (spatial, CLIP) and `FEATURES/SPLIT/ID_overlap-8.npy` (motion, VideoMAE),
[N, C] with another N each, and `SPLIT_info_ml.npy`, a pickled dict of {fileid, text, ...}."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from slt_cache.cache_tools.layouts.base import Asked, Listing, each_clip, file_name
from slt_cache.cache_tools.layouts.files import list_files
from slt_cache.cache_tools.layouts.labels import INFO
from slt_cache.features.cache import FeatureCache

SUFFIXES = ("_s2wrapping", "_overlap-*")
EXPORTED = "_s2wrapping"


class SpaMo:
    def recognizes(self, folder: Path) -> bool:
        infos = (path for base in ("", "*/", "*/*/") for path in folder.glob(f"{base}*_info*.npy"))
        if any(INFO.fullmatch(path.name) for path in infos):
            return True
        return any(next(folder.rglob(f"*{suffix}.npy"), None) for suffix in SUFFIXES)

    def list_clips(self, folder: Path, asked: Asked) -> Listing:
        return list_files(folder, asked, (".npy",))

    def write(self, caches: Sequence[FeatureCache], out: Path) -> None:
        for split, clip_id, _, features in each_clip(caches):
            path = out / "features" / split / f"{file_name(clip_id)}{EXPORTED}.npy"
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, features, allow_pickle=False)
        for cache in caches:
            clips = enumerate(zip(cache.ids, cache.texts, strict=True))
            info: dict[int | str, object] = {
                number: {"fileid": clip_id, "folder": f"{cache.split}/{clip_id}", "text": text, "gloss": ""}
                for number, (clip_id, text) in clips
            }
            info["prefix"] = ""  # its loader counts the clips as all items but one
            np.save(out / f"{cache.split}_info_ml.npy", np.array(info, dtype=object), allow_pickle=True)


LAYOUT = SpaMo()
