"""Writing of caches: the same bytes however they are put together, and nothing lost on a full disk."""

import os
import subprocess
import sys
import textwrap
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from slt_cache.errors import InputError, SltCacheError
from slt_cache.features.cache import FeatureCache, open_splits
from slt_cache.features.layout import Failure, SplitContent, SplitTable, checksum
from slt_cache.features.parts import ClipFeatures, Parts, add_splits, content_of, parts_folder
from slt_cache.features.verify import cache_problems
from slt_cache.features.writing import write_cache
from tests.helpers.caches import (
    DIM,
    IDS,
    add_split,
    facts_of,
    many_clips,
    rows_of,
    spec_of,
)
from tests.helpers.small_disks import file_size_limit, small_disk


def test_writing_leaves_nothing_but_the_cache(cache: FeatureCache) -> None:
    parts_folder(cache.path).rmdir()  # empty: the split's own folder is gone
    assert [path.name for path in cache.path.parent.iterdir()] == ["feats.h5"]


def test_adding_a_split_keeps_the_bytes_of_the_other(cache: FeatureCache) -> None:
    features, texts = np.asarray(cache.features).tobytes(), cache.texts
    add_split(cache.path, rows_of(seed=1), facts_of("dev"))
    assert list(open_splits(cache.path)) == ["train", "dev"]
    train, dev = FeatureCache(cache.path, "train"), FeatureCache(cache.path, "dev")
    assert np.asarray(train.features).tobytes() == features
    assert (train.texts, train.attributes) == (texts, cache.attributes)
    assert np.array_equal(dev["片段"], rows_of(seed=1)[2].features)
    assert cache_problems(cache.path) == []


def test_writing_a_split_again_replaces_it(cache: FeatureCache) -> None:
    rows = rows_of(seed=1)[:2]
    again = add_split(cache.path, rows)
    assert again.ids == list(IDS[:2])
    assert np.array_equal(again[IDS[0]], rows[0].features)


def test_the_same_content_makes_the_same_bytes_however_it_was_put_together(tmp_path: Path) -> None:
    missing = (Failure("ünlesbar", "there is no such file"),)
    first, second, third, fourth = (tmp_path / name / "feats.h5" for name in "abcd")
    add_split(first, rows_of())
    add_split(first, rows_of(seed=1), facts_of("dev"), missing)
    add_split(second, rows_of(seed=1), facts_of("dev"), missing)
    add_split(second, rows_of())
    add_splits(third, [content_of(facts_of("dev"), rows_of(seed=1), missing), content_of(facts_of(), rows_of())])
    train, dev = Parts(fourth, facts_of()), Parts(fourth, facts_of("dev"))
    for number, row in reversed(list(enumerate(rows_of()))):
        train.write(number, [row], [])
    dev.write(0, rows_of(seed=1)[:1], [])
    dev.write(1, [], missing)
    dev.write(2, rows_of(seed=1)[1:], [])
    add_splits(fourth, [train.content(4)])
    add_splits(fourth, [dev.content(3)])
    assert first.read_bytes() == second.read_bytes() == third.read_bytes() == fourth.read_bytes()


def test_splits_of_very_different_specs_share_a_file(tmp_path: Path) -> None:
    """HDF5 puts a short attribute behind an earlier one where it still fits."""
    path = tmp_path / "feats.h5"
    for lengths in [(1316, 2997, 1161), (10, 10, 10), (3000, 10, 3000)]:
        specs = [spec_of(source="x" * length) for length in lengths]
        write_cache(path, [content_of(facts_of(f"s{n}", spec), rows_of(seed=n)) for n, spec in enumerate(specs)])
        assert cache_problems(path) == []
        assert [FeatureCache(path, f"s{n}").spec for n in range(3)] == specs


def test_missing_clips_are_recorded_with_the_reason(tmp_path: Path) -> None:
    missing = (Failure("ünlesbar", "there is no such file"), Failure("坏", "broken"))
    cache = add_split(tmp_path / "feats.h5", rows_of(), missing=missing)
    assert not cache.complete
    assert cache.missing == missing
    assert list(cache) == list(IDS)
    assert cache_problems(cache.path) == []


def test_a_split_of_which_no_clip_could_be_read_is_empty_and_not_complete(tmp_path: Path) -> None:
    missing = (Failure("a", "broken"),)
    cache = add_split(tmp_path / "feats.h5", [], missing=missing)
    assert (len(cache), cache.complete, cache.missing, cache.features.shape) == (0, False, missing, (0, DIM))
    assert (cache.ids, cache.texts, cache.num_frames.tolist()) == ([], [], [])
    assert cache_problems(cache.path) == []


@pytest.mark.parametrize("wrong", ["bytes", "steps", "type"])
def test_features_that_are_not_as_their_table_says_are_never_written(cache: FeatureCache, wrong: str) -> None:
    before = cache.path.read_bytes()
    good = content_of(facts_of("dev"), rows_of())
    features = [row.features for row in rows_of()]
    features[2] = {
        "bytes": features[2] + np.float16(0.5),
        "steps": features[2][:-1],
        "type": features[2].astype(np.float32),
    }[wrong]
    with pytest.raises(SltCacheError, match=r"memory: .*'片段'"):
        add_splits(cache.path, [SplitContent(good.table, lambda: iter(features), good.source)])
    assert cache.path.read_bytes() == before
    assert not list(cache.path.parent.glob("*.tmp"))


def test_a_cache_below_a_file_is_the_users_mistake(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="cannot be written"):
        add_split(tmp_path / "file" / "feats.h5", rows_of())
    assert (tmp_path / "file").read_text() == "x"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_the_users_mistake(tmp_path: Path) -> None:
    content = content_of(facts_of(), rows_of())
    (tmp_path / "closed").mkdir(mode=0o500)
    with pytest.raises(InputError, match="Permission denied"):
        write_cache(tmp_path / "closed" / "feats.h5", [content])


FULL_DISK_BYTES = 2000 * 100 * DIM * 2


@pytest.mark.parametrize(
    "limit",
    [0, 1000, 100_000, FULL_DISK_BYTES, FULL_DISK_BYTES + 20_000, FULL_DISK_BYTES + 60_000],
)
def test_a_full_disk_is_an_error_in_one_line_and_keeps_the_earlier_file(cache: FeatureCache, limit: int) -> None:
    before = cache.path.read_bytes()
    steps = np.ones((100, DIM), "float16")
    content = content_of(
        facts_of("dev"), [ClipFeatures(f"clip {n:08d}", "ein satz", 400, 25.0, steps) for n in range(2000)]
    )
    with (
        pytest.raises(SltCacheError, match=r"feats.h5: could not be written") as refused,
        file_size_limit(limit),
    ):
        add_splits(cache.path, [content])
    assert type(refused.value) is SltCacheError and "\n" not in str(refused.value)
    assert cache.path.read_bytes() == before
    assert not list(cache.path.parent.glob("*.tmp"))


IN_MEMORY = """
    import os, sys
    from pathlib import Path

    from slt_cache.errors import SltCacheError
    from slt_cache.features.parts import add_splits, content_of
    from tests.helpers.caches import facts_of, rows_of
    from tests.helpers.small_disks import PAGE, fill

    path = Path(sys.argv[1])
    for pages in range(7):
        for file in path.parent.iterdir():
            file.unlink()
        fill(path.parent, pages * PAGE)
        child = os.fork()
        if child == 0:
            try:
                add_splits(path, [content_of(facts_of("dev"), rows_of())])
            except SltCacheError as error:
                assert "could not be written (No space left on device" in str(error)
                os._exit(1)
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        assert path.exists() or os.listdir(path.parent) == ["filler"]
"""


def test_a_full_file_system_in_memory_is_an_error_at_whatever_page_it_is_full(tmp_path: Path) -> None:
    """Not the end of the process by SIGBUS, which is what a map of a file with holes comes to there."""
    with small_disk(tmp_path / "disk", 1 << 19) as disk:
        ran = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(IN_MEMORY), str(disk / "feats.h5")],
            capture_output=True,
            text=True,
            cwd=Path(__file__).parents[2],
        )
    assert (ran.returncode, ran.stderr) == (0, "")
    codes = list(map(int, ran.stdout.split()))
    assert codes == sorted(codes, reverse=True)
    assert set(codes) == {0, 1}


def peak_of_writing(path: Path, content: SplitContent) -> int:
    """Bytes that are held at once, beside the content."""
    tracemalloc.start()
    try:
        write_cache(path, [content])
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_writing_many_clips_holds_little_for_each(tmp_path: Path) -> None:
    features = np.random.default_rng(0).normal(size=(1000, 1, 64)).astype("float16")
    peak = peak_of_writing(tmp_path / "feats.h5", many_clips(50_000, features))
    assert peak < 50_000 * 200  # bytes; the features of each clip alone are 128, its encoded id is 46


def test_a_cache_as_large_as_phoenix_is_hardly_larger_than_its_features(tmp_path: Path) -> None:
    """7,096 clips as long as those of PHOENIX14T's train split; memory does not grow with the features."""
    random, count, dim = np.random.default_rng(0), 7096, 512
    frames = np.clip(random.lognormal(np.log(116) - 0.1, 0.45, size=count), 16, 475).astype(np.int32)
    letters = np.array(list("abcdefghijklmnoprstuvwzäöüß    "))
    lengths = random.integers(10, 265, size=count)
    steps = -(-frames.astype(np.int64) // 4)
    zeros = np.zeros((int(steps.max()), dim), np.float16)
    sums = {n: checksum(zeros[:n]) for n in set(steps.tolist())}
    table = SplitTable(
        metadata=facts_of(spec=spec_of(dim=dim)),
        clip_ids=[f"01April_2010_Thursday_heute_default-{n:09d}".ljust(45, "x") for n in range(count)],
        texts=["".join(random.choice(letters, length)) for length in lengths],
        num_frames=frames,
        fps=np.full(count, 25, np.float32),
        steps=steps,
        checksums=np.array([sums[n] for n in steps.tolist()], np.uint32),
        missing=(),
    )
    assert 105 < frames.mean() < 130
    assert 280 < max(len(text.encode()) for text in table.texts) < 330
    peak = peak_of_writing(
        tmp_path / "feats.h5", SplitContent(table, lambda: (zeros[:n] for n in steps.tolist()), "memory")
    )
    size = int(steps.sum()) * dim * 2
    assert size > 200_000_000
    assert (tmp_path / "feats.h5").stat().st_size / size <= 1.02
    assert peak < 20_000_000
    assert FeatureCache(tmp_path / "feats.h5", "train").num_frames.tolist() == frames.tolist()
