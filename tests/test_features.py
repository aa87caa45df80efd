"""The feature cache: written in parts, assembled, read by memory map, refused where it is another."""

import io
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from torch.utils.data import DataLoader

from slt_cache.batches.feature_batches import CachedClips, FeatureBatch, feature_loader
from slt_cache.errors import InputError, SltCacheError
from slt_cache.features.cache import FeatureCache, cached_splits
from slt_cache.features.spec import FeatureSpec
from slt_cache.features.writing import ClipFeatures, Failure, Parts, SplitFacts, assemble
from slt_cache.text.tokenizer import Tokenizer

DIM = 6
LENGTHS = (3, 1, 5, 2)
IDS = ("clip ä", "-clip 'b'", "片段", "clip/d")
TEXTS = ("größer süden", 'he said "no', "今天下雪，有大风。", "ein satz")


def spec_of(dtype: str = "float16", **changes: Any) -> FeatureSpec:
    spec = FeatureSpec(
        encoder_sha256="a" * 64,
        level="sign",
        dim=DIM,
        dtype=dtype,
        keep_rate=0.25,
        resize=256,
        crop=224,
        fit="stretch",
        blank=False,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
    )
    return replace(spec, **changes)


def facts_of(split: str = "train", spec: FeatureSpec | None = None, manifest: str = "m" * 64) -> SplitFacts:
    return SplitFacts(split, spec or spec_of(), "tsv", "de_DE", manifest, "2024-05-01T00:00:00+00:00", "slt-cache test")


def rows_of(dtype: str = "float16", seed: int = 0) -> list[ClipFeatures]:
    random = np.random.default_rng(seed)
    return [
        ClipFeatures(clip_id, text, 4 * length - 1, random.normal(size=(length, DIM)).astype(dtype))
        for clip_id, text, length in zip(IDS, TEXTS, LENGTHS, strict=True)
    ]


def write_cache(
    path: Path, rows: list[ClipFeatures], facts: SplitFacts | None = None, failures: tuple[Failure, ...] = ()
) -> FeatureCache:
    """Two parts, the failures in the second."""
    facts = facts or facts_of()
    parts = Parts(path, facts)
    parts.write(0, rows[:3], [])
    parts.write(1, rows[3:], failures)
    assert assemble(path, parts, 2) == list(failures)
    parts.remove()
    return FeatureCache(path, facts.split)


@pytest.fixture
def cache(tmp_path: Path) -> FeatureCache:
    return write_cache(tmp_path / "feats.h5", rows_of())


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_features_come_back_as_they_were_written(tmp_path: Path, dtype: str) -> None:
    rows = rows_of(dtype)
    cache = write_cache(tmp_path / "feats.h5", rows, facts_of(spec=spec_of(dtype)))
    assert cache.ids == [row.clip_id for row in rows] == list(IDS)
    assert cache.texts == [row.text for row in rows] == list(TEXTS)
    assert cache.num_frames.tolist() == [row.num_frames for row in rows]
    for row in rows:
        assert cache[row.clip_id].dtype == np.dtype(dtype)
        assert np.array_equal(cache[row.clip_id], row.features)
    assert cache.complete
    assert cache.missing == ()
    assert cache.dim == DIM
    assert cache.spec == spec_of(dtype)
    assert cache.attributes["manifest_sha256"] == "m" * 64
    assert cache.attributes["spec_sha256"] == spec_of(dtype).sha256
    assert cache.damaged() == []
    assert [path.name for path in tmp_path.iterdir()] == ["feats.h5"]


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_features_are_contiguous_and_the_memory_map_equals_h5py(tmp_path: Path, dtype: str) -> None:
    cache = write_cache(tmp_path / "feats.h5", rows_of(dtype), facts_of(spec=spec_of(dtype)))
    with h5py.File(cache.path, "r") as file:
        dataset = file["train/features"]
        assert (dataset.chunks, dataset.compression, dataset.shape) == (None, None, (sum(LENGTHS), DIM))
        assert dataset.id.get_offset() is not None
        assert np.array_equal(dataset[:], cache.features)
        for row, clip_id in enumerate(IDS):
            first, last = file["train/offsets"][row : row + 2]
            assert np.array_equal(dataset[first:last], cache[clip_id])
    assert isinstance(cache.features, np.memmap)


def test_the_file_has_the_documented_layout(cache: FeatureCache) -> None:
    with h5py.File(cache.path, "r") as file:
        assert dict(file.attrs) == {"format": "slt-cache features", "version": 1}
        group = file["train"]
        types = {"features": "f2", "offsets": "i8", "view": "i2", "num_frames": "i4", "checksum": "u4"}
        assert {name: group[name].dtype.str[1:] for name in types} == types
        assert set(group) == {*types, "clip_id", "text"}
        assert h5py.check_string_dtype(group["text"].dtype).encoding == "utf-8"
        assert set(group.attrs) == {
            *("complete", "spec", "spec_sha256", "corpus", "language", "manifest_sha256", "created", "tool")
        }
        assert group["offsets"][:].tolist() == [0, 3, 4, 9, 11]


def test_a_cache_is_a_mapping(cache: FeatureCache) -> None:
    assert len(cache) == 4
    assert list(cache) == list(IDS)
    assert "clip ä" in cache
    assert "none" not in cache
    with pytest.raises(KeyError, match="none"):
        cache["none"]
    assert [len(features) for features in cache.values()] == list(LENGTHS)


def test_what_is_read_cannot_be_written_to(cache: FeatureCache) -> None:
    with pytest.raises(ValueError, match="read-only"):
        cache["片段"][0, 0] = 1.0


def test_a_cache_pickles_without_its_memory_map(cache: FeatureCache) -> None:
    before = cache["片段"].copy()
    data = pickle.dumps(cache)
    assert before.tobytes() not in data
    copy = pickle.loads(data)
    assert np.array_equal(copy["片段"], before)
    assert copy.spec == cache.spec


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_cache_may_be_read_by_worker_processes(cache: FeatureCache, method: str) -> None:
    cache.features  # noqa: B018 - mapped before the workers are started
    loader: DataLoader[Any] = DataLoader(
        CachedClips(cache),
        sampler=[(1, index) for index in (2, 0, 3, 1)],
        batch_size=None,
        num_workers=2 if method == "fork" else 1,
        multiprocessing_context=method,
    )
    read = list(loader)
    assert [(clip_id, text) for clip_id, _, text in read] == [(IDS[index], TEXTS[index]) for index in (2, 0, 3, 1)]
    for clip_id, features, _ in read:
        assert np.array_equal(features.numpy(), cache[clip_id].astype(np.float32))


def test_batches_of_features_are_packed(cache: FeatureCache, tokenizer: Tokenizer) -> None:
    batches: list[FeatureBatch] = list(feature_loader(cache, tokenizer, batch_size=3, shuffle=False))
    assert [batch.ids for batch in batches] == [IDS[:3], IDS[3:]]
    assert batches[0].lengths.tolist() == list(LENGTHS[:3])
    assert np.array_equal(np.concatenate([batch.features.numpy() for batch in batches]), cache.features)
    assert batches[1].targets.decoder_input_ids.tolist() == [[*tokenizer.start, *tokenizer.encode("ein satz")]]


def test_adding_a_split_keeps_the_bytes_of_the_other(cache: FeatureCache) -> None:
    features, texts = cache.features.tobytes(), cache.texts
    del cache._features
    write_cache(cache.path, rows_of(seed=1), facts_of("dev"))
    assert cached_splits(cache.path) == ["dev", "train"]
    train, dev = FeatureCache(cache.path, "train"), FeatureCache(cache.path, "dev")
    assert train.features.tobytes() == features
    assert (train.texts, train.attributes, train.damaged()) == (texts, cache.attributes, [])
    assert not np.array_equal(train["片段"], dev["片段"])
    with h5py.File(cache.path, "r") as file:
        assert file["train/features"].id.get_offset() is not None


def test_writing_a_split_again_replaces_it(cache: FeatureCache) -> None:
    rows = rows_of(seed=1)[:2]
    write_cache(cache.path, rows)
    again = FeatureCache(cache.path, "train")
    assert again.ids == list(IDS[:2])
    assert np.array_equal(again[IDS[0]], rows[0].features)


def test_the_same_features_make_the_same_file_however_they_were_cut(tmp_path: Path) -> None:
    rows = rows_of()
    first = write_cache(tmp_path / "a" / "feats.h5", rows)
    parts = Parts(tmp_path / "b" / "feats.h5", facts_of())
    for number, row in reversed(list(enumerate(rows))):
        parts.write(number, [row], [])
    assemble(tmp_path / "b" / "feats.h5", parts, 4)
    assert first.path.read_bytes() == (tmp_path / "b" / "feats.h5").read_bytes()


def damage(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 0x10
    path.write_bytes(data)


@pytest.mark.parametrize("row", range(4))
def test_a_damaged_byte_is_found(cache: FeatureCache, row: int) -> None:
    with h5py.File(cache.path, "r") as file:
        offset = file["train/features"].id.get_offset()
    damage(cache.path, offset + (int(cache.offsets[row + 1]) * DIM - 1) * 2)
    assert FeatureCache(cache.path, "train").damaged() == [IDS[row]]


def test_missing_clips_are_recorded(tmp_path: Path) -> None:
    failures = (Failure("ünlesbar", "there is no such file"), Failure("坏", "broken"))
    cache = write_cache(tmp_path / "feats.h5", rows_of(), failures=failures)
    assert not cache.complete
    assert cache.missing == ("ünlesbar", "坏")
    assert list(cache) == list(IDS)


def test_a_split_of_which_no_clip_could_be_read_is_empty_and_not_complete(tmp_path: Path) -> None:
    parts = Parts(tmp_path / "feats.h5", facts_of())
    parts.write(0, [], [Failure("a", "broken")])
    assemble(tmp_path / "feats.h5", parts, 1)
    cache = FeatureCache(tmp_path / "feats.h5", "train")
    assert (len(cache), cache.complete, cache.missing, cache.features.shape) == (0, False, ("a",), (0, DIM))
    assert cache.damaged() == []


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_features_that_are_not_finite_are_refused(tmp_path: Path, value: float, dtype: str) -> None:
    rows = rows_of(dtype)
    rows[1].features[0, 3] = value
    parts = Parts(tmp_path / "feats.h5", facts_of(spec=spec_of(dtype)))
    with pytest.raises(SltCacheError, match=f"-clip 'b'.*not finite as {dtype}"):
        parts.write(0, rows, [])
    assert not parts.path(0).exists()


# --- parts


@pytest.fixture
def parts(tmp_path: Path) -> Parts:
    parts = Parts(tmp_path / "feats.h5", facts_of())
    parts.write(3, rows_of(), [Failure("missing", "broken")])
    return parts


def test_a_part_is_whole_with_just_its_clips(parts: Parts) -> None:
    assert parts.is_whole(3, [*IDS, "missing"])
    assert not parts.is_whole(3, IDS)
    assert not parts.is_whole(3, [*IDS, "missing", "another"])
    assert not parts.is_whole(2, [*IDS, "missing"])
    assert parts.failures(3) == [Failure("missing", "broken")]


@pytest.mark.parametrize(
    "facts", [facts_of(spec=spec_of(keep_rate=0.5)), facts_of(spec=spec_of("float32")), facts_of(manifest="n" * 64)]
)
def test_a_part_of_another_spec_or_manifest_is_not_whole(parts: Parts, tmp_path: Path, facts: SplitFacts) -> None:
    assert not Parts(tmp_path / "feats.h5", facts).is_whole(3, [*IDS, "missing"])


def test_a_damaged_part_is_not_whole(parts: Parts) -> None:
    path = parts.path(3)
    with h5py.File(path, "r") as file:
        offset = file["features"].id.get_offset()
    damage(path, offset + 7)
    assert not parts.is_whole(3, [*IDS, "missing"])


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_a_part_that_was_cut_off_is_not_whole(parts: Parts, share: float) -> None:
    path = parts.path(3)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    assert not parts.is_whole(3, [*IDS, "missing"])


def test_no_damage_makes_the_check_of_a_part_fail(parts: Parts) -> None:
    """Whatever byte is wrong: the part is whole (the byte did not matter) or not, and never an error."""
    path = parts.path(3)
    data = path.read_bytes()
    for offset in range(0, len(data), 37):
        path.write_bytes(data)
        damage(path, offset)
        assert parts.is_whole(3, [*IDS, "missing"]) in (True, False)


def test_parts_of_two_splits_do_not_meet(tmp_path: Path) -> None:
    train, dev = (Parts(tmp_path / "feats.h5", facts_of(split)) for split in ("train", "dev"))
    train.write(0, rows_of(), [])
    dev.write(0, rows_of(seed=1), [])
    train.remove()
    assert dev.is_whole(0, IDS)
    dev.remove()
    assert list(tmp_path.iterdir()) == []


# --- spec


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_a_spec_comes_back_from_json(dtype: str) -> None:
    spec = spec_of(dtype, keep_rate=0.125)
    assert FeatureSpec.from_json(spec.to_json()) == spec
    assert FeatureSpec.from_json(spec.to_json()).sha256 == spec.sha256


def test_the_hash_of_a_spec_is_stable_and_tells_every_field() -> None:
    # Fixed by format version 1: another value would orphan every cache that was written before.
    assert spec_of().sha256 == "47987ccb8828826ddcf11e58c40053a63eb04ca7fc1cbd96b38d22cfd2aac2be"
    changes: dict[str, Any] = {
        "encoder_sha256": "b" * 64,
        "level": "frame",
        "dim": 7,
        "dtype": "float32",
        "keep_rate": 0.5,
        "resize": 255,
        "crop": 223,
        "fit": "crop",
        "blank": True,
        "mean": (0.5, 0.5, 0.5),
        "std": (0.2, 0.2, 0.2),
        "views": 2,
        "decoder": "other",
    }
    assert set(changes) == set(spec_of().__dataclass_fields__)
    assert len({spec_of(**{name: value}).sha256 for name, value in changes.items()} | {spec_of().sha256}) == 14


def test_features_of_another_spec_are_refused_with_the_field_and_both_values(cache: FeatureCache) -> None:
    cache.require_spec(spec_of())
    with pytest.raises(InputError) as refused:
        cache.require_spec(spec_of(keep_rate=0.5, encoder_sha256="b" * 64))
    message = str(refused.value)
    assert str(cache.path) in message
    assert "keep_rate: file 0.25, this run 0.5" in message
    assert "encoder_sha256: file aaaaaaaaaaaa..., this run bbbbbbbbbbbb..." in message
    assert "dtype" not in message


# --- files that are no cache


def refusal(path: Path, split: str = "train") -> str:
    with pytest.raises(InputError) as refused:
        FeatureCache(path, split)
    assert str(path) in str(refused.value)
    return str(refused.value)


def test_a_missing_file_is_refused_with_what_to_do(tmp_path: Path) -> None:
    assert "extract-features" in refusal(tmp_path / "none.h5")
    with pytest.raises(InputError):
        cached_splits(tmp_path / "none.h5")


@pytest.mark.parametrize("content", [b"", b"no hdf5" * 100])
def test_a_file_that_is_no_hdf5_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "feats.h5").write_bytes(content)
    assert "HDF5" in refusal(tmp_path / "feats.h5")


@pytest.mark.parametrize("share", [0.3, 0.9, 0.999])
def test_a_cache_that_was_cut_off_is_refused(cache: FeatureCache, share: float) -> None:
    data = cache.path.read_bytes()
    cache.path.write_bytes(data[: int(len(data) * share)])
    assert "HDF5" in refusal(cache.path)


def change(path: Path, edit: Callable[[h5py.File], None]) -> None:
    with h5py.File(path, "a") as file:
        edit(file)


def test_another_hdf5_file_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "feats.h5", "w") as file:
        file["train"] = np.zeros(3)
    assert "no slt-cache feature cache" in refusal(tmp_path / "feats.h5")


def test_a_newer_format_is_refused_with_both_versions(cache: FeatureCache) -> None:
    change(cache.path, lambda file: file.attrs.modify("version", 2))
    message = refusal(cache.path)
    assert "version 2" in message
    assert "up to 1" in message
    with pytest.raises(InputError):
        cached_splits(cache.path)


def test_a_split_that_is_not_held_is_refused_with_those_that_are(cache: FeatureCache) -> None:
    message = refusal(cache.path, "dev")
    assert "'dev'" in message
    assert "train" in message
    assert "extract-features --split dev" in message


def test_h5py_alone_reads_the_cache(cache: FeatureCache) -> None:
    """What a user without this package does, from a copy in memory."""
    with h5py.File(io.BytesIO(cache.path.read_bytes()), "r") as file:
        ids = [clip_id.decode() for clip_id in file["train/clip_id"][:]]
        texts = file["train/text"].asstr()[:].tolist()
        first, last = file["train/offsets"][2:4]
        assert np.array_equal(file["train/features"][first:last], cache[ids[2]])
    assert (ids, texts) == (list(IDS), list(TEXTS))
