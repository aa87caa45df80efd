"""What an extraction has to do, and what it leaves in the cache and beside it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from slt_cache.features.cache import open_splits
from slt_cache.features.layout import Failure
from slt_cache.pipeline.assembly import Extraction, Plan, assemble
from slt_cache.pipeline.failures import failures_file
from slt_cache.pipeline.split_work import SplitWork
from tests.helpers.split_works import make_part, split_work

PLAN = Plan({"train": [0, 1, 2]}, {}, set())
UNREADABLE = Failure("2", "it is an empty file")


@pytest.fixture
def work(tmp_path: Path, make_video: Callable[..., Path]) -> SplitWork:
    """Two clips have features, and one cannot be read."""
    work = split_work(tmp_path, make_video)
    make_part(work, 0)
    make_part(work, 1)
    work.chunks[2][0].video.write_bytes(b"")
    work.parts.write(2, [], [UNREADABLE])
    return work


def assembled(work: SplitWork, plan: Plan = PLAN, allow_missing: bool = True) -> list[Extraction]:
    return assemble(work.run, work.cache, {"train": work}, plan, {"train": 3.5}, allow_missing)


def test_a_plan_reaches_another_process_as_json() -> None:
    done = Extraction("dev", 4, 11, 0.5, (UNREADABLE,), written=True, fresh=False)
    plan = Plan({"train": [2, 0]}, {"dev": done}, {"test"})
    assert Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan


def test_a_split_with_missing_clips_is_written_only_if_that_is_allowed(work: SplitWork) -> None:
    refused = Extraction("train", 2, 14, 3.5, (UNREADABLE,), written=False, fresh=False)
    assert assembled(work, allow_missing=False) == [refused]
    assert not work.cache.exists() and work.parts.path(0).is_file()
    assert "it is an empty file" in failures_file(work.cache, "train").read_text()
    allowed = Extraction("train", 2, 14, 3.5, (UNREADABLE,), written=True, fresh=True)
    assert assembled(work) == [allowed]
    cache = open_splits(work.cache)["train"]
    assert list(cache.ids) == ["0", "1"] and cache.missing == (UNREADABLE,)
    assert not work.parts.path(0).exists()


def test_a_process_that_may_no_longer_write_leaves_the_cache_and_the_parts(work: SplitWork) -> None:
    class NotMine(Exception):
        pass

    def check() -> None:
        raise NotMine

    with pytest.raises(NotMine):
        assemble(work.run, work.cache, {"train": work}, PLAN, {"train": 0.0}, True, check)
    assert not work.cache.exists() and work.parts.path(0).is_file()


def test_a_second_look_leaves_out_what_a_killed_process_has_finished(work: SplitWork) -> None:
    assert PLAN.after_look(work.cache, {"train": work}) == PLAN
    assembled(work)
    again = PLAN.after_look(work.cache, {"train": work})
    assert again.todo == {} and again.found["train"].clips == 2 and not again.found["train"].fresh
