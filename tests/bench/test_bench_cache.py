"""`bench cache`: which values there are and how they depend on each other; no test checks how fast a machine is."""

import json
import math
from pathlib import Path

from tests.helpers.commands import slt_cache


def test_an_epoch_from_the_cache_is_compared_with_one_from_the_videos(trained: Path) -> None:
    ran = slt_cache("bench", "cache", "--run", trained, "--json")
    assert ran.code == 0, ran.err
    values = json.loads(ran.out)
    assert all(isinstance(value, str) or (math.isfinite(value) and value > 0) for value in values.values()), values
    assert values["epoch_seconds_recomputed"] > values["epoch_seconds_from_cache"]
    assert values["ratio"] > 1
    assert values["clips_timed"] == 19  # all: five batches of four, at most
    assert values["file_bytes_to_features"] > 1
    assert values["loader_workers"] == 4
