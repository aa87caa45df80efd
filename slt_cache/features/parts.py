"""Part files: small feature caches of consecutive clips of the manifest, from which the whole cache is assembled.

A part is written under a temporary name and renamed when it is on disk, so an existing part of the same spec and
manifest need not be made again."""

import shutil
from collections.abc import Container, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from slt_cache.corpora.base import NOWHERE, Origin
from slt_cache.errors import InputError
from slt_cache.features.cache import FeatureCache, open_splits
from slt_cache.features.layout import Failure, ProgressCallback, SplitContent, SplitMetadata, SplitTable, checksum
from slt_cache.features.several_files import write_files
from slt_cache.features.verify import cache_problems
from slt_cache.features.writing import write_cache
from slt_cache.files import write_text

ALL = "*"
"""Stands for all splits in a list of splits to drop, if none can be read."""


@dataclass(frozen=True)
class ClipFeatures:
    """One row of the cache: one view of a clip."""

    clip_id: str
    text: str
    num_frames: int
    """T, frames before downsampling."""
    fps: float
    """Source frames per second; 0 if unknown."""
    features: np.ndarray
    """Features [N, C] in the type that the cache stores."""
    source: str = ""
    """Fingerprint of their source (corpora/fingerprint.py); empty if unknown."""
    origin: Origin = NOWHERE
    """Corpus and language, if the manifest says so."""


def parts_folder(cache: Path) -> Path:
    """Returns the folder of a cache's part files, which exists until the cache is complete."""
    return cache.with_name(f"{cache.name}.parts")


class Parts:
    """The part files of one split, in a folder next to the cache. Those of another manifest are set aside there and
    used for clips that have not changed."""

    def __init__(self, cache: Path, metadata: SplitMetadata):
        self.metadata = metadata
        self.folder = parts_folder(cache) / metadata.split
        self._aside = self.folder / "aside"
        self._restarted = self.folder / "restarted"

    def path(self, number: int) -> Path:
        return self.folder / f"{number:06d}.h5"

    def find(self, number: int, clip_ids: Sequence[str]) -> FeatureCache | None:
        """Returns the part if it exists, is undamaged, and has this spec and manifest and exactly these clips."""
        path = self.path(number)
        if not path.is_file():
            return None
        try:
            part = FeatureCache(path, self.metadata.split)
            if part.metadata != self.metadata or cache_problems(path):
                return None
        except (InputError, OSError, KeyError, ValueError, TypeError, RuntimeError):
            return None
        found = {*part.ids, *(failure.clip_id for failure in part.missing)}
        return part if found == set(clip_ids) else None

    def write(self, number: int, rows: Sequence[ClipFeatures], missing: Sequence[Failure]) -> None:
        """Writes one part atomically. The views of a clip are consecutive in `rows`."""
        write_cache(self.path(number), [content_of(self.metadata, rows, missing, str(self.path(number)))])

    def content(self, count: int) -> SplitContent:
        """Returns the split assembled from the first `count` parts."""
        return concatenated(
            self.metadata, [FeatureCache(self.path(number), self.metadata.split).content() for number in range(count)]
        )

    def set_aside(self, fitting: Container[int]) -> None:
        """Moves parts that do not fit out of the way of new parts with the same names."""
        for path in sorted(self.folder.glob("*.h5")):
            if not path.stem.isdecimal() or int(path.stem) not in fitting:
                self._aside.mkdir(exist_ok=True)
                path.replace(self._aside / f"{len(list(self._aside.iterdir())):06d}.h5")

    @property
    def aside(self) -> list[Path]:
        """Parts that were set aside, oldest first."""
        return sorted(self._aside.glob("*.h5"))

    def restart(self) -> None:
        """Deletes the parts. Until the split is complete, extractions then make all of them, whatever the cache
        holds."""
        self.remove()
        write_text(self._restarted, "The cache is to be extracted again as a whole.\n")

    @property
    def is_restarted(self) -> bool:
        return self._restarted.is_file()

    def remove(self) -> None:
        """Deletes the parts after their content has been written to the cache."""
        shutil.rmtree(self.folder, ignore_errors=True)


def content_of(
    metadata: SplitMetadata, rows: Sequence[ClipFeatures], missing: Sequence[Failure] = (), source: str = "memory"
) -> SplitContent:
    """Returns a split of rows in memory. The views of a clip are consecutive."""
    table = SplitTable(
        metadata=metadata,
        clip_ids=[row.clip_id for row in rows],
        texts=[row.text for row in rows],
        num_frames=np.array([row.num_frames for row in rows], np.int32),
        fps=np.array([row.fps for row in rows], np.float32),
        steps=np.array([len(row.features) for row in rows], np.int64),
        checksums=np.array([checksum(row.features) for row in rows], np.uint32),
        missing=missing,
        sources=[row.source for row in rows],
        origins=[row.origin for row in rows],
    )
    return SplitContent(table, lambda: (row.features for row in rows), source)


def concatenated(metadata: SplitMetadata, contents: Sequence[SplitContent]) -> SplitContent:
    """Concatenates contents to one split."""
    tables = [content.table for content in contents]

    def column(name: str, dtype: type) -> np.ndarray:
        return np.concatenate([np.empty(0, dtype), *(getattr(table, name) for table in tables)])

    table = SplitTable(
        metadata=metadata,
        clip_ids=[clip_id for table in tables for clip_id in table.clip_ids],
        texts=[text for table in tables for text in table.texts],
        num_frames=column("num_frames", np.int32),
        fps=column("fps", np.float32),
        steps=column("steps", np.int64),
        checksums=column("checksums", np.uint32),
        missing=[failure for table in tables for failure in table.missing],
        sources=[source for table in tables for source in table.sources or [""] * len(table.clip_ids)],
        origins=[origin for table in tables for origin in table.origins or [NOWHERE] * len(table.clip_ids)],
    )
    sources = ", ".join(dict.fromkeys(str(Path(content.source).parent) for content in contents))
    return SplitContent(table, lambda: chain.from_iterable(content.rows() for content in contents), sources)


def add_splits(
    cache: Path,
    contents: Sequence[SplitContent],
    progress: ProgressCallback | None = None,
    drop: Container[str] = (),
    max_bytes: int | None = None,
) -> None:
    """Adds splits to a cache atomically, in addition to those that it already has, without those to `drop`. It becomes
    a folder of files if one file would have more than `max_bytes`.

    Existing splits are copied into a new file and compared with their checksums on the way; if the process is killed,
    the old file is unchanged."""
    new = {content.table.metadata.split for content in contents}
    old = open_splits(cache) if cache.exists() and ALL not in drop else {}
    kept = [split.content() for name, split in old.items() if name not in new and name not in drop]
    write_files(cache, [*kept, *contents], progress, max_bytes)
