"""Names and types of format version 1, used by writing, reading and verifying alike."""

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from slt_cache.corpora.base import SPLITS, Origin
from slt_cache.features.spec import FeatureSpec

FORMAT = "slt-cache features"
VERSION = 1
ProgressCallback = Callable[[int, int], None]
"""Called with rows done and rows in total while a whole cache is processed."""
ALIGNMENT = 64
"""Alignment of datasets in bytes, so that memory maps are aligned for every type."""
NUMBERS = {"offsets": "<i8", "view": "<i2", "num_frames": "<i4", "fps": "<f4", "checksum": "<u4"}
"""Columns of numbers and their types, with one value per row; offsets has one more."""
SOURCE = "source"
ORIGIN = Origin._fields
OPTIONAL = (SOURCE, *ORIGIN)
"""Columns that are omitted if all of their values are empty."""
STRINGS = ("clip_id", "text", "missing", "missing_reason", *OPTIONAL)
"""Columns of UTF-8 strings of fixed length, with one value per row but for the missing clips."""
UNKNOWN = "unknown"
"""Language of sentences if none was given."""
FACTS = ("corpus", "created", "language", "manifest_sha256", "tool")
"""Attributes of a split other than `complete`, `spec` and `spec_sha256`."""


@dataclass(frozen=True)
class Failure:
    """A clip without features, and why."""

    clip_id: str
    reason: str


@dataclass(frozen=True)
class SplitMetadata:
    """Metadata of a split."""

    split: str
    spec: FeatureSpec
    corpus: str
    language: str
    manifest_sha256: str
    """Hash of the split's lines in the manifest."""
    created: str
    """Time at which the encoder was finished, ISO 8601, UTC; that of extraction would make equal caches differ."""
    tool: str
    """Name and version of the program that wrote the split."""


@dataclass(frozen=True)
class SplitTable:
    """All columns of a split but the features, with one value per row, that is, per view of a clip.

    Rows are in manifest order; the views of a clip are consecutive, from 0."""

    metadata: SplitMetadata
    clip_ids: Sequence[str]
    texts: Sequence[str]
    num_frames: np.ndarray
    """T, frames before downsampling, int32."""
    fps: np.ndarray
    """Source frames per second, float32; 0 if unknown."""
    steps: np.ndarray
    """N, time steps, int64."""
    checksums: np.ndarray
    """CRC-32 of each row's features, uint32."""
    missing: Sequence[Failure]
    sources: Sequence[str] = ()
    """Fingerprint of the source of each row (corpora/fingerprint.py); empty if unknown."""
    origins: Sequence[Origin] = ()
    """Corpus and language of each row; empty if the manifest does not say."""

    @property
    def views(self) -> np.ndarray:
        """View number of each row, int16."""
        return (np.arange(len(self.clip_ids)) % self.metadata.spec.views).astype(np.int16)


@dataclass(frozen=True)
class SplitContent:
    """A split to be written to a file."""

    table: SplitTable
    rows: Callable[[], Iterator[np.ndarray]]
    """Function that yields the features of each row, [N, C]."""
    source: str
    """Origin of the rows, for error messages."""


def canonical(split: str) -> tuple[int, str]:
    """Returns a sort key for splits: train, dev, test, then others by name, whatever the order of adding."""
    return (SPLITS.index(split) if split in SPLITS else len(SPLITS), split)


def checksum(features: np.ndarray) -> int:
    """Returns the CRC-32 of the bytes of one row's features."""
    return zlib.crc32(np.ascontiguousarray(features))
