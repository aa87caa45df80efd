"""Checks the HDF5 structure of a cache file before anything in it is mapped: names, links, types, ranks, lengths,
layout and place of every column must be those of format version 1.

A checksum proves that a file is unchanged, not that its author meant well. Columns are memory-mapped, and the process
would follow pointers (variable-length strings, object references), places outside of the file and links to other files;
so a file that deviates is refused. Reads no column."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
from h5py import h5a, h5d, h5l, h5o, h5s, h5t

from slt_cache.features.checksum_header import FEATURES, ChecksumHeader
from slt_cache.features.layout import FACTS, NUMBERS, OPTIONAL, STRINGS
from slt_cache.features.spec import FeatureSpec

COLUMNS = (*NUMBERS, *STRINGS, FEATURES)
TEXTS = (*FACTS, "spec", "spec_sha256")
"""Attributes of a split that are strings; `complete` is a number."""
TYPES = {
    "<i8": h5t.STD_I64LE,
    "<i2": h5t.STD_I16LE,
    "<i4": h5t.STD_I32LE,
    "<f4": h5t.IEEE_F32LE,
    "<u4": h5t.STD_U32LE,
    "float16": h5t.IEEE_F16LE,
    "float32": h5t.IEEE_F32LE,
}
MAX_ATTRIBUTE = 1 << 20
"""Largest size of an attribute in bytes; ours have a few hundred."""
MAX_STRING = 1 << 20
"""Largest size of an id, a sentence or a reason in bytes."""
SPLIT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
MAX_VIEWS = np.iinfo(np.int16).max


class BadStructure(ValueError):
    """Raised for a file that deviates from format version 1; the message says how and where."""


@dataclass(frozen=True)
class Place:
    """Place of a column in the file."""

    offset: int
    """Bytes from the beginning of the file."""
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def size(self) -> int:
        """Size in bytes."""
        return int(np.prod(self.shape, dtype=object)) * self.dtype.itemsize


@dataclass(frozen=True)
class SplitHeader:
    """Checked metadata of a split."""

    attributes: dict[str, Any]
    spec: FeatureSpec
    places: dict[str, Place]
    """Place of every column, by name."""


def split_names(file: h5py.File) -> list[str]:
    """Returns the splits of a file. Raises BadStructure if anything at the root is not a group of this file, or has a
    name that is unsafe for a folder or a terminal."""
    names = list(_members(file, "the root", h5o.TYPE_GROUP, "a group"))
    for name in names:
        if not SPLIT_NAME.fullmatch(name):
            raise BadStructure(f"{name[:80]!r} is not a valid split name")
    return names


def read_root(file: h5py.File) -> tuple[str, int]:
    """Returns format and version. Raises BadStructure if they are not a string and a number."""
    form, version = (_attribute(file, "the root", name) for name in ("format", "version"))
    if not isinstance(form, str) or not isinstance(version, int):
        raise BadStructure("the root's attributes format and version are not a string and a number")
    return form, version


def read_split(file: h5py.File, split: str, header: ChecksumHeader) -> SplitHeader:
    """Reads attributes and places of a split. Raises BadStructure for any deviation from format version 1."""
    group = file[split]
    found = {name: h5d.open(group.id, name.encode()) for name in _members(group, split, h5o.TYPE_DATASET, "a dataset")}
    _require_names(split, found)
    attributes = _attributes(group, split)
    spec = _spec(split, attributes["spec"])
    places = {name: _place(dataset, f"{split}/{name}", header) for name, dataset in found.items()}
    _require_types(split, found, spec)
    _require_shapes(split, places, spec)
    return SplitHeader(attributes, spec, places)


def _members(group: h5py.Group, where: str, kind: int, called: str) -> Iterator[str]:
    """Yields the names of the members after checking their kinds without opening them, since opening a link opens its
    target."""
    for raw in group.id:
        name = raw.decode("utf-8", "replace")
        if group.id.links.get_info(raw).type != h5l.TYPE_HARD:
            raise BadStructure(f"{name[:80]!r} at {where} is a link elsewhere")
        if h5o.get_info(group.id, raw).type != kind or raw != name.encode():
            raise BadStructure(f"{name[:80]!r} at {where} is not {called}")
        yield name


def _require_names(split: str, found: Iterable[str]) -> None:
    lacking, unknown = sorted(set(COLUMNS) - {*OPTIONAL, *found}), sorted(set(found) - set(COLUMNS))
    if lacking:
        raise BadStructure(f"{split} has no column {', '.join(lacking)}")
    if unknown:
        raise BadStructure(f"{split} has a column that is not part of the format: {', '.join(unknown)[:80]}")


def _attributes(group: h5py.Group, split: str) -> dict[str, Any]:
    complete = _attribute(group, split, "complete")
    if complete not in (0, 1):
        raise BadStructure(f"{split}: attribute complete is {complete}, not 0 or 1")
    texts = {name: _attribute(group, split, name) for name in TEXTS}
    for name, value in texts.items():
        if not isinstance(value, str):
            raise BadStructure(f"{split}: attribute {name} is not a string")
    return {"complete": int(complete), **texts}


def _attribute(holder: h5py.Group, where: str, name: str) -> str | int:
    """Reads one string or one whole number; arrays, compounds and references are refused unread."""
    if not h5a.exists(holder.id, name.encode()):
        raise BadStructure(f"{where} has no attribute {name}")
    attribute = h5a.open(holder.id, name.encode())
    kind = attribute.get_type()
    if attribute.shape != () or not isinstance(kind, h5t.TypeStringID | h5t.TypeIntegerID):
        raise BadStructure(f"{where}: attribute {name} is neither one string nor one whole number")
    if kind.get_size() > MAX_ATTRIBUTE:
        raise BadStructure(f"{where}: attribute {name} has {kind.get_size():,} bytes")
    value = holder.attrs[name]
    if isinstance(kind, h5t.TypeIntegerID):
        return int(value)
    raw = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else bytes(value)
    if len(raw) > MAX_ATTRIBUTE:
        raise BadStructure(f"{where}: attribute {name} has {len(raw):,} bytes")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadStructure(f"{where}: attribute {name} is not UTF-8") from error


def _spec(split: str, text: str) -> FeatureSpec:
    try:
        spec = FeatureSpec.from_json(text)
    except ValueError as error:
        raise BadStructure(f"{split}: spec is not that of features ({error})") from error
    if spec.dtype not in ("float16", "float32"):
        raise BadStructure(f"{split}: the spec's dtype is {spec.dtype[:40]}, not float16 or float32")
    if not 1 <= spec.views <= MAX_VIEWS:
        raise BadStructure(f"{split}: the spec's views are {spec.views}, not 1 to {MAX_VIEWS}")
    if spec.dim < 1:
        raise BadStructure(f"{split}: the spec's dim is {spec.dim}")
    return spec


def _place(dataset: h5d.DatasetID, name: str, header: ChecksumHeader) -> Place:
    """Returns the place of a column, which must be contiguous, in this file, and where the checksum header says."""
    space, plan = dataset.get_space(), dataset.get_create_plist()
    if space.get_simple_extent_type() != h5s.SIMPLE or space.get_simple_extent_ndims() not in (1, 2):
        raise BadStructure(f"{name} is not an array of one or two dimensions")
    if plan.get_layout() != h5d.CONTIGUOUS or plan.get_nfilters() or plan.get_external_count():
        raise BadStructure(f"{name} is not contiguous in this file (chunked, compressed, virtual or external)")
    kind = dataset.get_type()
    if not isinstance(kind, h5t.TypeIntegerID | h5t.TypeFloatID | h5t.TypeStringID) or (
        isinstance(kind, h5t.TypeStringID) and kind.is_variable_str()
    ):
        raise BadStructure(f"{name} holds pointers or compounds instead of numbers or fixed-length strings")
    place = Place(dataset.get_offset() or 0, tuple(map(int, space.get_simple_extent_dims())), dataset.dtype)
    if not place.size:
        return place
    region = header.get(name)
    if region is None or dataset.get_offset() is None or (region.offset, region.length) != (place.offset, place.size):
        raise BadStructure(f"{name} is not where the checksum header says")
    return place


def _require_types(split: str, found: dict[str, h5d.DatasetID], spec: FeatureSpec) -> None:
    for name, wanted in {**NUMBERS, FEATURES: spec.dtype}.items():
        if not found[name].get_type().equal(TYPES[wanted]):
            raise BadStructure(f"{split}/{name} is {found[name].dtype}, not {np.dtype(wanted)}")
    for name in filter(found.__contains__, STRINGS):
        kind = found[name].get_type()
        if not isinstance(kind, h5t.TypeStringID) or kind.get_cset() != h5t.CSET_UTF8:
            raise BadStructure(f"{split}/{name} does not hold UTF-8 strings")
        if kind.get_size() > MAX_STRING:
            raise BadStructure(f"{split}/{name} has strings of {kind.get_size():,} bytes")


def _require_shapes(split: str, places: dict[str, Place], spec: FeatureSpec) -> None:
    for name, place in places.items():
        if len(place.shape) != (2 if name == FEATURES else 1):
            raise BadStructure(f"{split}/{name} has {len(place.shape)} dimensions")
    rows, missing = places["clip_id"].shape[0], places["missing"].shape[0]
    lengths = {**dict.fromkeys(NUMBERS, rows), "offsets": rows + 1, "text": rows, "missing_reason": missing}
    lengths |= dict.fromkeys({*OPTIONAL} & places.keys(), rows)
    for name, length in lengths.items():
        if places[name].shape[0] != length:
            raise BadStructure(f"{split}/{name} has {places[name].shape[0]:,} values instead of {length:,}")
    if places[FEATURES].shape[1] != spec.dim:
        raise BadStructure(
            f"{split}/{FEATURES} has {places[FEATURES].shape[1]:,} columns, but its spec says {spec.dim:,}"
        )
    if rows % spec.views:
        raise BadStructure(f"{split} has {rows:,} rows, which is not a multiple of its {spec.views:,} views")
