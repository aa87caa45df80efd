"""Cache files that somebody made to do harm, all with valid checksums: each is refused in one line that says what
deviates, before any column is mapped, by whatever opens it."""

import io
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from h5py import h5a, h5d, h5p, h5s, h5t

from slt_cache.errors import InputError
from slt_cache.features.cache import FeatureCache, open_splits
from slt_cache.features.checksum_header import block_size, write_checksum_header
from slt_cache.features.structure import BadStructure, split_names
from slt_cache.features.verify import cache_problems
from slt_cache.features.writing import HDF5_VERSION, _write_table
from tests.helpers.caches import DIM, IDS, facts_of, rows_of, spec_of
from tests.helpers.commands import slt_cache

Change = Callable[[h5py.Group], Any]


def write_hostile(
    path: Path, change: Change, header: Callable[[dict[str, tuple[int, int]]], Any] | None = None
) -> Path:
    """A cache of one split with the change made to its group, or to the places that its header names; the checksums are
    those of the changed file."""
    from slt_cache.features.parts import content_of

    content = content_of(facts_of(), rows_of())
    size = block_size(1)
    with h5py.File(
        path, "w", libver=HDF5_VERSION, userblock_size=size, alignment_threshold=1, alignment_interval=64
    ) as file:
        file.attrs["format"], file.attrs["version"] = "slt-cache features", 1
        _write_table(file, content.table)
        file["train"].create_dataset("features", data=np.concatenate([row.features for row in rows_of()]))
        change(file["train"])
    places = {}
    with h5py.File(path, "r") as file:
        for split in file:
            if file.get(split, getclass=True, getlink=True) is not h5py.HardLink:
                continue
            if not isinstance(file[split], h5py.Group):
                continue
            for name in file[split]:
                own = file[split].get(name, getclass=True, getlink=True) is h5py.HardLink
                found = file[split][name] if own else None
                if isinstance(found, h5py.Dataset) and found.size and found.id.get_offset() is not None:
                    places[f"{split}/{name}"] = (found.id.get_offset(), found.id.get_storage_size())
        spec = file["train"].attrs.get("spec", "")
    at = path.read_bytes().find(spec.encode()) if isinstance(spec, str) and spec else -1
    if at >= 0:
        places["train/spec"] = (at, len(spec.encode()))
    if header is not None:
        header(places)
    write_checksum_header(path, places, size)
    return path


def replaced(name: str, data: Any, **options: Any) -> Change:
    def change(group: h5py.Group) -> None:
        del group[name]
        group.create_dataset(name, data=data, **options)

    return change


def of_kind(name: str, kind: Any, shape: tuple[int, ...] = (4,)) -> Change:
    """A column of another HDF5 type, with nothing but zeros in it."""

    def change(group: h5py.Group) -> None:
        del group[name]
        plan = h5p.create(h5p.DATASET_CREATE)
        plan.set_layout(h5d.CONTIGUOUS)
        plan.set_alloc_time(h5d.ALLOC_TIME_EARLY)
        h5d.create(group.id, name.encode(), kind, h5s.create_simple(shape), plan)

    return change


def spec_with(**values: Any) -> Change:
    def change(group: h5py.Group) -> None:
        group.attrs["spec"] = json.dumps({**asdict(spec_of()), **values})

    return change


def linked(name: str, link: Any) -> Change:
    def change(group: h5py.Group) -> None:
        del group[name]
        group[name] = link

    return change


def external(group: h5py.Group) -> None:
    del group["text"]
    kind = h5py.string_dtype("utf-8", 9)
    group.create_dataset("text", (4,), kind, external=[("/etc/passwd", 0, 36)])


def virtual(group: h5py.Group) -> None:
    del group["fps"]
    layout = h5py.VirtualLayout((4,), "<f4")
    layout[:] = h5py.VirtualSource("/etc/passwd", "x", (4,))
    group.create_virtual_dataset("fps", layout)


def named(split: str) -> Change:
    """Another split, with this name."""
    return lambda group: group.file.copy("train", split)


def string_of(size: int) -> Any:
    kind = h5t.C_S1.copy()
    kind.set_size(size)
    kind.set_cset(h5t.CSET_UTF8)
    return kind


def wide_complete(group: h5py.Group) -> None:
    kind = h5t.STD_I64LE.copy()
    kind.set_size(16)
    del group.attrs["complete"]
    h5a.create(group.id, b"complete", kind, h5s.create(h5s.SCALAR))


VARIABLE, REFERENCE = h5py.string_dtype("utf-8"), h5py.ref_dtype
PAIR = np.dtype([("a", "<i4"), ("b", "<f4")])
HOSTILE: dict[str, tuple[Change, str]] = {
    "variable-length ids": (replaced("clip_id", list(IDS), dtype=VARIABLE), "train/clip_id holds pointers"),
    "variable-length sentences": (replaced("text", list(IDS), dtype=VARIABLE), "train/text holds pointers"),
    "object references": (of_kind("clip_id", h5t.STD_REF_OBJ), "train/clip_id holds pointers"),
    "region references": (of_kind("missing", h5t.STD_REF_DSETREG, (1,)), "train/missing holds pointers"),
    "variable-length numbers": (of_kind("offsets", h5t.vlen_create(h5t.STD_I64LE), (5,)), "train/offsets holds"),
    "a compound": (replaced("num_frames", np.zeros(4, PAIR)), "train/num_frames holds pointers or compounds"),
    "an enumeration": (replaced("view", np.zeros(4, h5py.enum_dtype({"a": 0}, "<i2"))), "train/view"),
    "an array type": (of_kind("fps", h5t.array_create(h5t.IEEE_F32LE, (2,))), "train/fps"),
    "an opaque type": (of_kind("checksum", h5t.create(h5t.OPAQUE, 4)), "train/checksum"),
    "float64 features": (replaced("features", np.zeros((11, DIM))), "train/features is float64, not float16"),
    "features of another type": (replaced("features", np.zeros((11, DIM), np.float32)), "is float32, not float16"),
    "big-endian features": (replaced("features", np.zeros((11, DIM), ">f2")), "train/features is >f2, not float16"),
    "integer features": (replaced("features", np.zeros((11, DIM), np.int16)), "train/features is int16"),
    "short offsets": (replaced("offsets", np.arange(5, dtype=np.int32)), "train/offsets is int32, not int64"),
    "unsigned offsets": (replaced("offsets", np.arange(5, dtype=np.uint64)), "train/offsets is uint64"),
    "chunked features": (replaced("features", np.zeros((11, DIM), np.float16), chunks=(1, DIM)), "not contiguous"),
    "compressed ids": (replaced("text", np.array([b"x"] * 4), compression="gzip"), "train/text is not contiguous"),
    "another file's bytes": (external, "train/text is not contiguous in this file"),
    "a virtual column": (virtual, "train/fps is not contiguous in this file"),
    "features of one dimension": (replaced("features", np.zeros(11, np.float16)), "has 1 dimensions"),
    "features of three": (replaced("features", np.zeros((11, DIM, 1), np.float16)), "not an array of one or two"),
    "a single number": (replaced("fps", np.float32(1)), "train/fps is not an array"),
    "ids of two dimensions": (
        replaced("clip_id", np.array([[b"a", b"b"]] * 4, h5py.string_dtype("utf-8", 1))),
        "train/clip_id has 2 dimensions",
    ),
    "too few sentences": (
        replaced("text", [b"x"], dtype=h5py.string_dtype("utf-8", 3)),
        "train/text has 1 values instead of 4",
    ),
    "too many offsets": (replaced("offsets", np.arange(6)), "train/offsets has 6 values instead of 5"),
    "another C": (replaced("features", np.zeros((11, DIM + 1), np.float16)), "7 columns, but its spec says 6"),
    "a soft link": (linked("text", h5py.SoftLink("/train/clip_id")), "'text' at train is a link elsewhere"),
    "an external link": (linked("text", h5py.ExternalLink("/etc/passwd", "x")), "'text' at train is a link"),
    "a group for a column": (lambda group: (group.pop("fps"), group.create_group("fps")), "'fps' at train is not a"),
    "a link at the root": (lambda group: group.parent.update(dev=h5py.SoftLink("/train")), "'dev' at the root is a"),
    "a dataset at the root": (lambda group: group.parent.create_dataset("dev", data=[1]), "'dev' at the root is not"),
    "a column too many": (
        lambda group: group.create_dataset("more", data=[1]),
        "column that is not part of the format",
    ),
    "a column too few": (lambda group: group.pop("view"), "train has no column view"),
    "no spec": (lambda group: group.attrs.pop("spec"), "train has no attribute spec"),
    "an array for an attribute": (lambda group: group.attrs.create("tool", ["a", "b"]), "attribute tool is neither"),
    "a number for a string": (lambda group: group.attrs.create("tool", 1), "attribute tool is not a string"),
    "a reference for an attribute": (
        lambda group: group.attrs.create("tool", group.ref, dtype=h5py.ref_dtype),
        "attribute tool is neither",
    ),
    "a huge attribute": (
        lambda group: group.attrs.create("corpus", "x" * (2 << 20)),
        "attribute corpus has 2,097,152 bytes",
    ),
    "a version as a string": (lambda group: group.parent.attrs.create("version", "one"), "version"),
    "complete as 7": (lambda group: group.attrs.create("complete", 7), "attribute complete is 7"),
    "a billion views": (spec_with(views=10**9), "the spec's views are 1000000000, not 1 to 32767"),
    "no view": (spec_with(views=0), "the spec's views are 0"),
    "three views of four rows": (spec_with(views=3), "4 rows, which is not a multiple of its 3 views"),
    "views in words": (spec_with(views="two"), "the value of 'views' is wrong"),
    "a spec with an unknown key": (spec_with(pickle="x"), "unknown key 'pickle'"),
    "a dtype that is none": (spec_with(dtype="object"), "the spec's dtype is object"),
    "a spec of brackets": (lambda group: group.attrs.create("spec", "[" * 60_000), "too many brackets"),
    "a spec that is a list": (lambda group: group.attrs.create("spec", "[1, 2]"), "list instead of an object"),
    "decreasing offsets": (replaced("offsets", np.array([0, 9, 4, 9, 11])), "train/offsets do not rise"),
    "negative offsets": (replaced("offsets", np.array([-8, 1, 4, 9, 11])), "train/offsets do not rise"),
    "offsets past the end": (replaced("offsets", np.array([0, 3, 4, 9, 10**12])), "train/offsets do not rise"),
    "an id twice": (
        replaced("clip_id", [b"a", b"a", b"b", b"c"], dtype=h5py.string_dtype("utf-8", 1)),
        "train/clip_id has a clip twice",
    ),
    "an empty id": (
        replaced("clip_id", [b"", b"a", b"b", b"c"], dtype=h5py.string_dtype("utf-8", 1)),
        "train/clip_id has an empty id",
    ),
    "a split that is the folder above": (named(".."), "'..' is not a valid split name"),
    "a split that colours the terminal": (named("\x1b[31mdev"), "is not a valid split name"),
    "a split without a name": (named(" "), "' ' is not a valid split name"),
    "sentences of two megabytes": (of_kind("text", string_of(2 << 20)), "train/text has strings of 2,097,152 bytes"),
    "an attribute without a value": (
        lambda group: group.attrs.create("tool", h5py.Empty("S4")),
        "attribute tool is neither",
    ),
    "a number of sixteen bytes": (wide_complete, "HDF5 cannot read it"),
    "ids that are no UTF-8": (
        replaced("clip_id", np.array([b"\xff"] * 4, h5py.string_dtype("utf-8", 1))),
        "train/clip_id is not UTF-8",
    ),
}


def read_through(path: Path) -> None:
    """All that a reader may ask for."""
    for split in open_splits(path):
        cache = FeatureCache(path, split)
        assert [cache[clip_id].shape for clip_id in cache.ids]
        assert cache.texts is not None and cache.missing is not None and "x" not in cache
        assert all(cache.column(name) is not None for name in ("view", "num_frames", "fps", "checksum"))


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_cache_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    change, said = HOSTILE[name]
    path = write_hostile(tmp_path / "bad.h5", change)
    with pytest.raises(InputError) as refused:
        read_through(path)
    assert str(path) in str(refused.value)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
    [problem, *_] = cache_problems(path)
    assert said in problem


def test_a_cache_that_nothing_was_changed_in_is_read(tmp_path: Path) -> None:
    path = write_hostile(tmp_path / "good.h5", lambda group: None)
    read_through(path)
    assert cache_problems(path) == []


SEALS: dict[str, Callable[[dict[str, tuple[int, int]]], Any]] = {
    "a column elsewhere": lambda places: places.update({"train/clip_id": places["train/offsets"]}),
    "a column that is not named": lambda places: places.pop("train/num_frames"),
    "overlapping columns": lambda places: places.update({"train/fps": (places["train/fps"][0], 10_000)}),
    "a negative place": lambda places: places.update({"train/fps": (-64, 16)}),
    "a column in the block": lambda places: places.update({"train/fps": (64, 16)}),
    "a length of nothing": lambda places: places.update({"train/fps": (places["train/fps"][0], 0)}),
    "all of it features": lambda places: places.update({"dev/features": places.pop("train/offsets")}),
}


@pytest.mark.parametrize("name", SEALS)
def test_a_checksum_header_that_lies_is_refused(tmp_path: Path, name: str) -> None:
    path = write_hostile(tmp_path / "bad.h5", lambda group: None, SEALS[name])
    with pytest.raises(InputError, match=r"bad\.h5"):
        read_through(path)
    assert cache_problems(path)


@pytest.mark.parametrize("head", ["00004096012345678", "99999999 00000000", "00000100 00000000", "4.1e3 00000000"])
def test_a_checksum_header_of_another_size_than_the_file_can_have_is_refused_before_it_is_read(
    tmp_path: Path, head: str
) -> None:
    path = write_hostile(tmp_path / "bad.h5", lambda group: None)
    line = f"slt-cache seal 1 {head}".encode().ljust(34) + b"\n"
    path.write_bytes(line + path.read_bytes()[len(line) :])
    with pytest.raises(InputError, match=r"bad\.h5: no slt-cache feature cache, or one whose first bytes are damaged"):
        read_through(path)
    assert cache_problems(path)


@pytest.mark.parametrize("name", ["object references", "an external link", "float64 features", "negative offsets"])
def test_every_command_refuses_a_hostile_cache_without_a_traceback(tmp_path: Path, name: str) -> None:
    path = write_hostile(tmp_path / "bad.h5", HOSTILE[name][0])
    good = write_hostile(tmp_path / "good.h5", lambda group: None)
    (tmp_path / "table.tsv").write_text("id\tsplit\ttext\tfile\nx\tdev\tein satz\tx.npy\n")
    np.save(tmp_path / "x.npy", np.zeros((2, DIM), np.float16))
    commands = (
        ("cache", "info", path),
        ("cache", "show", IDS[0], "--features", path),
        ("cache", "export", path, tmp_path / "out"),
        ("cache", "merge", good, path, "--out", tmp_path / "both.h5"),
        ("cache", "import", tmp_path, "--out", path),
        ("train-llm", "--features", path, "--run", tmp_path / "run", "--set", "features.level=imported"),
    )
    before = path.read_bytes()
    for command in commands:
        ran = slt_cache(*command)
        assert ran.code == 2, (command, ran.err)
        assert "bad.h5" in ran.err
        assert ran.err.strip().count("\n") == 0, ran.err
    assert slt_cache("cache", "verify", path).code == 1
    assert path.read_bytes() == before
    assert not (tmp_path / "out").exists() and not (tmp_path / "both.h5").exists()


@pytest.mark.parametrize("name", ["..", "\x1b[31m", "-rf", "a b", "x" * 101])
def test_a_split_name_that_is_unsafe_for_a_folder_or_a_terminal_is_refused(name: str) -> None:
    with h5py.File(io.BytesIO(), "w") as file:
        file.create_group("train")
        assert split_names(file) == ["train"]
        file.create_group(name)
        with pytest.raises(BadStructure, match="is not a valid split name"):
            split_names(file)
