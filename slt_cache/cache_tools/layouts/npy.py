"""Plain folders of arrays: `[SPLIT/]ID[SUFFIX].npy` (or .pt), [N, C], with sentences in a table or in label files."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from slt_cache.cache_tools.layouts.base import Asked, Listings, each_clip, file_name
from slt_cache.cache_tools.layouts.files import list_files, suffix_of, write_labels
from slt_cache.features.cache import FeatureCache


class Npy:
    names_streams = True

    def recognizes(self, folder: Path) -> bool:
        return any(next(folder.rglob(f"*{suffix}"), None) for suffix in (".npy", ".pt"))

    def list_clips(self, folder: Path, asked: Asked) -> Listings:
        return list_files(folder, asked, (".npy", ".pt"))

    def write(self, caches: Sequence[FeatureCache], out: Path, stream: str | None) -> None:
        for split, clip_id, _, features in each_clip(caches):
            path = out / split / f"{file_name(clip_id)}{suffix_of(stream)}.npy"
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, features, allow_pickle=False)
        write_labels(caches, out)


LAYOUT = Npy()
