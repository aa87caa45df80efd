"""The words of format version 1: names and types, for writing, reading and verifying alike."""

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from slt_cache.corpora.base import SPLITS
from slt_cache.features.spec import FeatureSpec

FORMAT = "slt-cache features"
VERSION = 1
ProgressCallback = Callable[[int, int], None]
"""Called now and then with rows done and rows in all, by what goes through a whole cache."""
ALIGNMENT = 64
"""Bytes; datasets begin at a multiple of it, so that a memory map is aligned for every type."""
NUMBERS = {"offsets": "<i8", "view": "<i2", "num_frames": "<i4", "fps": "<f4", "checksum": "<u4"}
"""Columns of numbers and their types; one value a row, offsets one more."""
SOURCE = "source"
STRINGS = ("clip_id", "text", "missing", "missing_reason", SOURCE)
"""Columns of UTF-8 strings, as long as the longest needs; clip_id, text and source have one value a row. A split in
which no source is known has no such column."""
UNKNOWN = "unknown"
"""Language of sentences that nobody has named."""
FACTS = ("corpus", "created", "language", "manifest_sha256", "tool")
"""Attributes of a split beside `complete`, `spec` and `spec_sha256`."""


@dataclass(frozen=True)
class Failure:
    """A clip without features, and why."""

    clip_id: str
    reason: str


@dataclass(frozen=True)
class SplitMetadata:
    """What a cache says of a split beside its features."""

    split: str
    spec: FeatureSpec
    corpus: str
    language: str
    manifest_sha256: str
    """Over the split's lines of the manifest."""
    created: str
    """ISO 8601, UTC: when the encoder was finished. The same extraction gives the same bytes, so no time of its own."""
    tool: str
    """Name and version of what wrote it."""


@dataclass(frozen=True)
class SplitTable:
    """Everything of a split but the features: columns with one value a row, a row being one view of one clip.

    Rows are in manifest order; the views of a clip follow one another, from 0."""

    metadata: SplitMetadata
    clip_ids: Sequence[str]
    texts: Sequence[str]
    num_frames: np.ndarray
    """int32, T, frames before downsampling."""
    fps: np.ndarray
    """float32, of these frames, a second; 0 where nothing tells it."""
    steps: np.ndarray
    """int64, N."""
    checksums: np.ndarray
    """uint32, CRC-32 of each row's features."""
    missing: Sequence[Failure]
    sources: Sequence[str] = ()
    """What the features of each row were made of (corpora/fingerprint.py); empty if nothing is known."""

    @property
    def views(self) -> np.ndarray:
        """int16, the view of each row."""
        return (np.arange(len(self.clip_ids)) % self.metadata.spec.views).astype(np.int16)


@dataclass(frozen=True)
class SplitContent:
    """A split on its way into a file."""

    table: SplitTable
    rows: Callable[[], Iterator[np.ndarray]]
    """Gives the features of each row, [N, C]."""
    source: str
    """Where they come from, for an error."""


def canonical(split: str) -> tuple[int, str]:
    """Sorts splits: train, dev, test, then others by name. The order in which they were added does not matter."""
    return (SPLITS.index(split) if split in SPLITS else len(SPLITS), split)


def checksum(features: np.ndarray) -> int:
    """CRC-32 of the bytes of one row's features."""
    return zlib.crc32(np.ascontiguousarray(features))
