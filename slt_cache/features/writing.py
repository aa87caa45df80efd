"""Features of clips in, a feature cache out: part files of whole clips first, one file at the end.

A part holds the clips of a fixed stretch of the manifest, is written under a temporary name and renamed when it
is on disk; whoever finds a whole part of the same spec need not make it again. Computes no features."""

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from slt_cache.errors import SltCacheError
from slt_cache.features.cache import FORMAT, VERSION, checksum, open_cache
from slt_cache.features.spec import FeatureSpec
from slt_cache.files import replacing

TEXT = h5py.string_dtype("utf-8")


@dataclass(frozen=True)
class ClipFeatures:
    """One row of the cache."""

    clip_id: str
    text: str
    num_frames: int
    """T, source frames."""
    features: np.ndarray
    """[N, C]"""


@dataclass(frozen=True)
class Failure:
    """A clip without features, and why."""

    clip_id: str
    reason: str


@dataclass(frozen=True)
class SplitFacts:
    """What a cache says of a split beside its features."""

    split: str
    spec: FeatureSpec
    corpus: str
    language: str
    manifest_sha256: str
    """Over the split's lines of the manifest."""
    created: str
    """ISO 8601, UTC."""
    tool: str
    """Name and version of what wrote it."""


def parts_folder(cache: Path) -> Path:
    """Where the part files of a cache lie until it is whole."""
    return cache.with_name(f"{cache.name}.parts")


class Parts:
    """The part files of one split, in a folder beside the cache."""

    def __init__(self, cache: Path, facts: SplitFacts):
        self.facts = facts
        self.folder = parts_folder(cache) / facts.split

    def path(self, number: int) -> Path:
        return self.folder / f"{number:06d}.h5"

    def is_whole(self, number: int, clip_ids: Sequence[str]) -> bool:
        """Whether the part is there, of this spec and manifest, with just these clips and undamaged."""
        path = self.path(number)
        if not path.is_file():
            return False
        try:
            with h5py.File(path, "r") as file:
                rows, failures = list(_rows(file)), _failures(file)
                same = (file.attrs["spec"], file.attrs["manifest_sha256"]) == self._identity()
                sums = [int(value) for value in file["checksum"][:]]
        except (OSError, KeyError, ValueError, TypeError, RuntimeError):
            return False
        held = {row.clip_id for row in rows} | {failure.clip_id for failure in failures}
        return same and held == set(clip_ids) and sums == [checksum(row.features) for row in rows]

    def write(self, number: int, rows: Sequence[ClipFeatures], failures: Sequence[Failure]) -> None:
        """Writes one part, whole or not at all."""
        dtype = self.facts.spec.dtype
        with np.errstate(over="ignore"):  # what overflows becomes infinite, and is refused
            rows = [replace(row, features=row.features.astype(dtype)) for row in rows]
        for row in rows:
            if not np.isfinite(row.features).all():
                raise SltCacheError(
                    f"clip {row.clip_id!r}: its features are not finite as {dtype}. "
                    "Try features.dtype=float32, or train the encoder again."
                )
        with replacing(self.path(number)) as temporary, h5py.File(temporary, "w") as file:
            file.attrs["spec"], file.attrs["manifest_sha256"] = self._identity()
            file.attrs["failures"] = json.dumps([[failure.clip_id, failure.reason] for failure in failures])
            _write_rows(file, rows, self.facts.spec)

    def failures(self, number: int) -> list[Failure]:
        """Clips of the part that could not be read."""
        with h5py.File(self.path(number), "r") as file:
            return _failures(file)

    def remove(self) -> None:
        """Deletes the parts, once the cache holds what they held."""
        shutil.rmtree(self.folder, ignore_errors=True)
        if self.folder.parent.is_dir() and not any(self.folder.parent.iterdir()):
            self.folder.parent.rmdir()

    def _identity(self) -> tuple[str, str]:
        return self.facts.spec.to_json(), self.facts.manifest_sha256


def assemble(cache: Path, parts: Parts, count: int) -> list[Failure]:
    """Puts a split into the cache file, beside the splits that it holds already, in one rename.

    Streams: no more than one part is in memory. Returns the clips that are missing."""
    facts = parts.facts
    failures = [failure for number in range(count) for failure in parts.failures(number)]
    with replacing(cache) as temporary, h5py.File(temporary, "w") as file:
        file.attrs["format"] = FORMAT
        file.attrs["version"] = VERSION
        if cache.exists():
            with open_cache(cache) as before:
                for split in before:
                    if split != facts.split:
                        before.copy(split, file)
        group = file.create_group(facts.split)
        group.attrs["complete"] = not failures
        group.attrs["spec"] = facts.spec.to_json()
        group.attrs["spec_sha256"] = facts.spec.sha256
        if failures:
            group.attrs.create("missing", [failure.clip_id for failure in failures], dtype=TEXT)
        for name in ("corpus", "language", "manifest_sha256", "created", "tool"):
            group.attrs[name] = getattr(facts, name)
        _join(group, parts, count)
    return failures


def _join(group: h5py.Group, parts: Parts, count: int) -> None:
    """Copies the datasets of all parts, one behind the other."""
    columns: dict[str, list[np.ndarray]] = {name: [] for name in ("clip_id", "text", "num_frames", "checksum")}
    steps: list[np.ndarray] = []
    for number in range(count):
        with h5py.File(parts.path(number), "r") as part:
            steps.append(np.diff(part["offsets"][:]))
            for name, values in columns.items():
                values.append(part[name][:])
    _write_columns(group, np.concatenate(steps), {name: np.concatenate(values) for name, values in columns.items()})
    features = group.create_dataset(
        "features", (int(group["offsets"][-1]), parts.facts.spec.dim), parts.facts.spec.dtype
    )
    first = 0
    for number in range(count):
        with h5py.File(parts.path(number), "r") as part:
            last = first + part["features"].shape[0]
            if last > first:
                features[first:last] = part["features"][:]
            first = last


def _write_rows(group: h5py.Group, rows: Sequence[ClipFeatures], spec: FeatureSpec) -> None:
    """The datasets of a part."""
    columns = {
        "clip_id": [row.clip_id for row in rows],
        "text": [row.text for row in rows],
        "num_frames": [row.num_frames for row in rows],
        "checksum": [checksum(row.features) for row in rows],
    }
    _write_columns(group, np.array([len(row.features) for row in rows], np.int64), columns)
    features = np.concatenate([row.features for row in rows]) if rows else np.empty((0, spec.dim))
    group.create_dataset(
        "features", data=features.astype(spec.dtype, copy=False)
    )  # contiguous, so that readers may map it


def _write_columns(group: h5py.Group, steps: np.ndarray, columns: Mapping[str, Any]) -> None:
    """Everything but the features; `steps` is N of each clip."""
    group.create_dataset("offsets", data=np.concatenate([[0], np.cumsum(steps)]).astype(np.int64))
    group.create_dataset("clip_id", data=columns["clip_id"], dtype=TEXT)
    group.create_dataset("text", data=columns["text"], dtype=TEXT)
    group.create_dataset("view", data=np.zeros(len(steps), np.int16))
    group.create_dataset("num_frames", data=np.asarray(columns["num_frames"], np.int32))
    group.create_dataset("checksum", data=np.asarray(columns["checksum"], np.uint32))


def _rows(group: h5py.Group) -> Iterator[ClipFeatures]:
    offsets, features = group["offsets"][:], group["features"][:]
    columns: Iterable[tuple[bytes, bytes, int]] = zip(
        group["clip_id"][:], group["text"][:], group["num_frames"][:], strict=True
    )
    for row, (clip_id, text, num_frames) in enumerate(columns):
        yield ClipFeatures(clip_id.decode(), text.decode(), int(num_frames), features[offsets[row] : offsets[row + 1]])


def _failures(group: h5py.Group) -> list[Failure]:
    return [Failure(clip_id, reason) for clip_id, reason in json.loads(group.attrs["failures"])]
