"""Damage: every byte of a cache is under some checksum, and none makes a reader hang, crash or read something else."""

import mmap
import multiprocessing
import pickle
import struct
import zlib
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from slt_cache.errors import InputError, SltCacheError
from slt_cache.features.cache import FeatureCache, open_splits
from slt_cache.features.checksum_header import read_checksum_header
from slt_cache.features.layout import Failure, checksum
from slt_cache.features.verify import cache_problems
from tests.helpers.caches import DIM, IDS, LENGTHS, TEXTS, add_split, facts_of, rows_of, spec_with_views

FLIPS = 34
"""Of each of six regions, so a good 200."""
MISSING = (Failure("ünlesbar", "there is no such file"),)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Two splits, one of them with two views of each clip."""
    path = tmp_path / "feats.h5"
    add_split(path, rows_of(), missing=MISSING)
    add_split(path, rows_of(seed=1, views=2), facts_of("dev", spec_with_views(2)))
    return path


def flip(data: bytes, offset: int, bit: int) -> bytes:
    return data[:offset] + bytes([data[offset] ^ 1 << bit]) + data[offset + 1 :]


def place(path: Path, name: str) -> tuple[int, int]:
    """Offset and length of a column or the spec of train, as HDF5 tells them."""
    with h5py.File(path, "r") as file:
        if name == "spec":
            spec = file["train"].attrs["spec"].encode()
            return path.read_bytes().index(spec), len(spec)
        dataset = file[f"train/{name}"]
        return dataset.id.get_offset(), dataset.size * dataset.dtype.itemsize


def flips_of(path: Path, name: str) -> list[tuple[int, int]]:
    """Seeded (offset, bit) in a column."""
    first, length = place(path, name)
    random = np.random.default_rng(zlib.crc32(name.encode()))
    return [(first + int(random.integers(length)), int(random.integers(8))) for _ in range(FLIPS)]


@pytest.mark.parametrize(
    "name", ["offsets", "clip_id", "text", "checksum", "spec", "num_frames", "fps", "view", "missing", "missing_reason"]
)
def test_a_flipped_bit_of_a_column_is_found_and_the_column_named(path: Path, name: str) -> None:
    data = path.read_bytes()
    for offset, bit in flips_of(path, name):
        path.write_bytes(flip(data, offset, bit))
        problems = cache_problems(path)
        assert f"train/{name}: does not match its checksum" in problems
        assert all(problem.startswith("train/") for problem in problems)


def test_a_flipped_bit_of_the_features_is_found_and_the_clip_named(path: Path) -> None:
    data, (first, _) = path.read_bytes(), place(path, "features")
    ends = np.cumsum(LENGTHS) * DIM * 2
    for offset, bit in flips_of(path, "features"):
        clip_id = IDS[int(np.searchsorted(ends, offset - first, side="right"))]
        path.write_bytes(flip(data, offset, bit))
        assert cache_problems(path) == [f"train/features: clip {clip_id!r} does not match its checksum"]


def test_of_several_views_the_damaged_one_is_named(path: Path) -> None:
    with h5py.File(path, "r") as file:
        first = file["dev/features"].id.get_offset()
        offset = first + int(file["dev/offsets"][5]) * DIM * 2
    path.write_bytes(flip(path.read_bytes(), offset, 0))
    assert cache_problems(path) == ["dev/features: clip '片段', view 1 does not match its checksum"]


def test_damage_in_several_places_is_told_of_each(path: Path) -> None:
    data = path.read_bytes()
    for name in ("text", "fps", "features"):
        data = flip(data, place(path, name)[0], 3)
    path.write_bytes(data)
    assert sorted(cache_problems(path)) == [
        f"train/features: clip {IDS[0]!r} does not match its checksum",
        "train/fps: does not match its checksum",
        "train/text: does not match its checksum",
    ]


def read_all(path: Path) -> dict[str, Any]:
    """All that a reader may ask for."""
    found: dict[str, Any] = {}
    for split in open_splits(path):
        cache = FeatureCache(path, split)
        found[split] = (cache.attributes, cache.spec, cache.complete, cache.missing)
        found[f"{split}/rows"] = (cache.row_ids, cache.row_texts, cache.ids, cache.texts, cache.offsets.tolist())
        found[f"{split}/numbers"] = {
            name: cache.column(name).tolist() for name in ("view", "num_frames", "fps", "checksum")
        }
        found[f"{split}/features"] = [cache.row(row).tobytes() for row in range(cache.rows)]
    return found


def flip_everywhere(path: Path, every: int) -> int:
    """How many flips were refused by the reader: all, or the test fails."""
    data, refused = path.read_bytes(), 0
    for number, offset in enumerate(range(0, len(data), every)):
        path.write_bytes(flip(data, offset, number % 8))
        problems = cache_problems(path)
        assert problems, f"byte {offset} is under no checksum"
        with pytest.raises(SltCacheError) as error:
            read_all(path)
        assert str(path) in str(error.value)
        assert "\n" not in str(error.value)
        refused += 1
    return refused


def test_no_damaged_byte_hangs_crashes_or_changes_what_is_read(path: Path) -> None:
    """In another process: HDF5 itself hangs on some flipped bits."""
    size = path.stat().st_size
    with multiprocessing.get_context("fork").Pool(1) as pool:
        refused = pool.apply_async(flip_everywhere, (path, 7)).get(timeout=120)
    assert refused == -(-size // 7)


def test_a_cache_that_was_cut_off_anywhere_is_refused(path: Path) -> None:
    data = path.read_bytes()
    features, length = place(path, "features")
    cuts = {*range(0, len(data), 101), len(data) - 1, features, features + 1, features + length - 1}
    for cut in sorted(cuts):
        path.write_bytes(data[:cut])
        assert len(cache_problems(path)) == 1
        with pytest.raises(InputError, match=r"feats\.h5"):
            FeatureCache(path, "train")


def test_a_long_split_that_was_cut_off_in_its_features_is_refused(tmp_path: Path) -> None:
    rows = [type(row)(f"{row.clip_id} {n}", "", 1, 25.0, row.features) for n in range(500) for row in rows_of()]
    path = add_split(tmp_path / "feats.h5", rows).path
    first, length = place(path, "features")
    path.write_bytes(path.read_bytes()[: first + length // 2])
    assert "cut off" in cache_problems(path)[0]
    for ask in (open_splits, lambda path: FeatureCache(path, "train")):
        with pytest.raises(InputError, match="cut off"):
            ask(path)


@pytest.mark.parametrize("more", [b"\0", b"x" * 5000])
def test_bytes_behind_the_end_are_found(path: Path, more: bytes) -> None:
    path.write_bytes(path.read_bytes() + more)
    assert cache_problems(path)
    with pytest.raises(InputError, match="damaged"):
        FeatureCache(path, "train")


def test_a_cache_that_another_program_wrote_to_is_refused(path: Path) -> None:
    with h5py.File(path, "a") as file:
        file["train/num_frames"][0] = 1
    assert "train/num_frames: does not match its checksum" in cache_problems(path)
    with h5py.File(path, "a") as file:
        file["train"].attrs["corpus"] = "another"
    assert "structure" in cache_problems(path)[0]


READS: dict[str, Callable[[FeatureCache], Any]] = {
    "offsets": lambda cache: cache["片段"],
    "clip_id": lambda cache: cache["片段"],
    "text": lambda cache: cache.texts,
    "num_frames": lambda cache: cache.num_frames,
    "fps": lambda cache: cache.column("fps"),
    "missing": lambda cache: cache.missing,
}


@pytest.mark.parametrize("name", READS)
def test_a_damaged_column_is_refused_when_it_is_read_and_hides_no_other(path: Path, name: str) -> None:
    path.write_bytes(flip(path.read_bytes(), place(path, name)[0], 0))
    cache = FeatureCache(path, "train")
    with pytest.raises(InputError, match=f"train/{name} is damaged"):
        READS[name](cache)
    for other in set(READS) - {name, "offsets", "clip_id"}:
        READS[other](cache)
    assert len(FeatureCache(path, "dev")["片段"]) == 5


@pytest.mark.parametrize("name", ["offsets", "clip_id", "text", "checksum", "num_frames", "fps", "missing", "spec"])
def test_a_split_is_not_added_to_a_file_with_a_damaged_column(path: Path, name: str) -> None:
    damaged = flip(path.read_bytes(), place(path, name)[0], 2)
    path.write_bytes(damaged)
    with pytest.raises(InputError, match=rf"feats\.h5: train/{name} is damaged"):
        add_split(path, rows_of(seed=2), facts_of("test"))
    assert path.read_bytes() == damaged
    assert not list(path.parent.glob("*.tmp"))


def test_a_split_is_not_added_to_a_file_with_a_damaged_clip(path: Path) -> None:
    damaged = flip(path.read_bytes(), place(path, "features")[0] + 4 * DIM * 2, 2)
    path.write_bytes(damaged)
    with pytest.raises(SltCacheError, match=r"feats\.h5: the features of clip '片段' are damaged"):
        add_split(path, rows_of(seed=2), facts_of("test"))
    assert path.read_bytes() == damaged
    assert not list(path.parent.glob("*.tmp"))


def test_the_checksum_header_names_every_region_once_and_leaves_no_byte_out(path: Path) -> None:
    header = read_checksum_header(path)
    with h5py.File(path, "r") as file:
        columns = {f"{split}/{name}" for split in file for name, dataset in file[split].items() if dataset.size}
    assert set(header) == columns | {"train/spec", "dev/spec", "rest"}
    ends = sorted((region.offset, region.offset + region.length) for name, region in header.items() if name != "rest")
    assert all(end <= following for (_, end), (following, _) in pairwise(ends))
    assert ends[0][0] >= 4096
    assert ends[-1][1] <= path.stat().st_size


def test_a_reader_of_ones_own_needs_no_more_than_the_documented_facts(path: Path) -> None:
    """With mmap, struct, zlib and h5py alone, from what FORMAT.md says."""
    data = path.read_bytes()

    # the checksum header
    title, _, rest = data.partition(b"\n")
    *words, size, crc = title.decode("ascii").split(" ")
    assert words == ["slt-cache", "seal", "1"]
    block = int(size)
    assert zlib.crc32(rest[: block - len(title) - 1]) == int(crc, 16)
    lines = data[len(title) + 1 : block].rstrip(b"\0").decode("ascii").splitlines()
    regions = [line.rsplit(" ", 3) for line in lines]
    for name, offset, length, crc in regions[:-1]:
        first, last = int(offset), int(offset) + int(length)
        if name.endswith("/features"):
            assert crc == "-"
        else:
            assert zlib.crc32(data[first:last]) == int(crc, 16)
    gaps, first = b"", block
    for start, length_of in sorted((int(offset), int(length)) for _, offset, length, _ in regions[:-1]):
        gaps += data[first:start]
        first = start + length_of
    assert regions[-1] == ["rest", "0", "0", f"{zlib.crc32(gaps + data[first:]):08x}"]

    # the features
    with h5py.File(path, "r") as file:
        offset, (rows, dim) = file["train/features"].id.get_offset(), file["train/features"].shape
        offsets, sums = file["train/offsets"][:].tolist(), file["train/checksum"][:].tolist()
        ids = [clip_id.decode("utf-8") for clip_id in file["train/clip_id"][:]]
        texts = [text.decode("utf-8") for text in file["train/text"][:]]
        assert file["train"].attrs["complete"] == 0
    assert (ids, texts, rows, dim) == (list(IDS), list(TEXTS), sum(LENGTHS), DIM)
    with path.open("rb") as raw:
        mapped = mmap.mmap(raw.fileno(), 0, access=mmap.ACCESS_READ)
    for row, written in enumerate(rows_of()):
        stored = mapped[offset + offsets[row] * dim * 2 : offset + offsets[row + 1] * dim * 2]
        assert zlib.crc32(stored) == sums[row]
        values = struct.unpack(f"<{len(stored) // 2}e", stored)
        assert list(values) == written.features.ravel().tolist()


def test_a_row_is_compared_with_its_checksum_when_it_is_first_read(path: Path) -> None:
    whole, first = path.read_bytes(), place(path, "features")[0]
    cache = FeatureCache(path, "train")
    cache.row(0)
    path.write_bytes(flip(whole, first + LENGTHS[0] * DIM * 2, 3))  # of the second clip
    cache = FeatureCache(path, "train")
    cache.row(0)
    with pytest.raises(SltCacheError, match=rf"feats\.h5: the features of clip \"{IDS[1]}\" of train are damaged"):
        cache[IDS[1]]
    with pytest.raises(SltCacheError, match="damaged"):
        pickle.loads(pickle.dumps(cache))[IDS[1]]
    unchecked = FeatureCache(path, "train", verify=False)
    assert len(unchecked[IDS[1]]) == LENGTHS[1]
    assert len(pickle.loads(pickle.dumps(unchecked))[IDS[1]]) == LENGTHS[1]


def test_a_row_is_compared_once_in_a_process(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[int] = []

    def counted(row: np.ndarray) -> int:
        compared.append(len(row))
        return checksum(row)

    monkeypatch.setattr("slt_cache.features.cache.checksum", counted)
    for _ in range(2):
        cache = FeatureCache(path, "train")
        for clip_id in (*IDS, *IDS):
            cache[clip_id]
    assert compared == list(LENGTHS)
