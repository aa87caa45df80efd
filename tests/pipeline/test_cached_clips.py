"""A feature cache is used only for the clips and sentences of the run's manifest."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from slt_cache.config import load_config
from slt_cache.corpora.base import Clip
from slt_cache.corpora.manifest import write_manifest
from slt_cache.errors import InputError
from slt_cache.features.cache import FeatureCache
from slt_cache.pipeline.cached_clips import counted, require_manifest
from slt_cache.runs.run import Run
from tests.helpers.caches import IDS, TEXTS, add_split, rows_of


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path, load_config("tsv"))


@pytest.fixture
def cache(run: Run) -> FeatureCache:
    return add_split(run.features, rows_of())


def write(run: Run, ids: Sequence[str] = IDS, texts: Sequence[str] = TEXTS) -> None:
    write_manifest(
        run.manifest,
        [Clip(name, "train", Path("v.mp4"), None, None, text) for name, text in zip(ids, texts, strict=True)],
    )


def test_the_same_clips_in_another_order_pass_and_so_does_a_cache_without_a_manifest(
    run: Run, cache: FeatureCache
) -> None:
    require_manifest(run, cache)
    write(run, IDS[::-1], TEXTS[::-1])
    require_manifest(run, cache)


def test_every_difference_is_named_with_the_command_that_extracts_again(run: Run, cache: FeatureCache) -> None:
    write(run, ["new", *IDS[1:]], [TEXTS[0], "er sagte nein", *TEXTS[2:]])
    with pytest.raises(InputError) as refused:
        require_manifest(run, cache)
    said = str(refused.value)
    assert "1 clip is not in the cache ('new')" in said
    assert "1 clip is no longer in the manifest ('clip ä')" in said
    assert f"1 clip has another sentence ({IDS[1]!r})" in said
    assert "slt-cache extract-features --split train" in said


def test_only_the_first_clips_are_named() -> None:
    assert counted(["a"], "is gone", "are gone") == "1 clip is gone ('a')"
    assert counted(list("abcde"), "is gone", "are gone") == "5 clips are gone ('a', 'b', 'c', ...)"
