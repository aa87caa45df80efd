"""What handles all clips of a corpus at once, simulated."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from slt_cache.bench import scale
from slt_cache.bench.scale import STEPS, Taken, bench_scale
from slt_cache.config import load_config
from slt_cache.features.cache import FeatureCache
from slt_cache.runs.run import Run
from tests.helpers.commands import TINY, slt_cache

HERE = ("write", "plan", "claim", "assemble", "verify", "open", "read_columns", "epoch")


@pytest.mark.parametrize("max_file_gb", ["null", "0.00003"])
def test_every_step_does_its_work_on_what_the_steps_before_it_left(tmp_path: Path, max_file_gb: str) -> None:
    run = Run(tmp_path / "run", load_config(str(TINY), [f"features.max_file_gb={max_file_gb}"]))
    run.folder.mkdir()
    assert tuple(STEPS) == HERE
    for name in STEPS:
        STEPS[name](run, 30)()
    cache = FeatureCache(run.features, "train")
    assert run.features.is_dir() == (max_file_gb != "null")
    assert (len(cache), cache.complete, cache.dim) == (30, True, scale.DIM)
    seconds = float((cache.num_frames / cache.column("fps")).sum())
    assert seconds == pytest.approx(30 * scale.SECONDS_A_CLIP, rel=0.2)  # as long as those of YouTube-SL-25
    assert not run.features.with_name("feats.h5.parts").joinpath("train").exists()


def test_what_a_clip_takes_is_the_difference_between_two_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    def measured(task: str, work: Callable[..., Taken], run: Run, clips: int) -> Taken:
        if task.endswith("open"):
            return Taken(0.5, 10_000_000)
        if task.endswith(("write", "plan", "claim", "assemble")):
            work(run, clips)  # for the size of the cache
        return Taken(2 + 3e-6 * clips, 200_000_000 + 700 * clips, 100_000_000 + 50 * clips)

    monkeypatch.setattr(scale, "in_a_process", measured)
    values = bench_scale(load_config(str(TINY)), 40)
    assert (values["plan_seconds"], values["plan_microseconds_a_clip"], values["plan_bytes_a_clip"]) == (2.0, 3.0, 700)
    assert (values["open_seconds"], values["open_microseconds_a_clip"], values["open_bytes_a_clip"]) == (0.5, 0.0, 0)
    assert (values["clips"], values["verify_megabytes"]) == (40, 200)
    assert (values["plan_own_megabytes"], values["plan_own_bytes_a_clip"]) == (100, 50)
    assert "open_own_megabytes" not in values  # where the system does not tell


@pytest.mark.slow
def test_the_command_prints_time_and_memory_of_each_step() -> None:
    ran = slt_cache("bench", "scale", "--clips", 200, "--json")
    assert ran.code == 0, ran.err
    values: dict[str, Any] = json.loads(ran.out)
    for name in HERE:
        assert values[f"{name}_seconds"] >= 0 and values[f"{name}_megabytes"] > 20
        assert {f"{name}_microseconds_a_clip", f"{name}_bytes_a_clip"} <= values.keys()
    assert values["hours"] == 0.6


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process's own memory")
def test_a_hundred_thousand_clips_stay_within_a_tenth_of_what_a_million_may_take() -> None:
    values = json.loads(slt_cache("bench", "scale", "--clips", 100_000, "--json").out)
    assert values["open_seconds"] < 1 and values["plan_seconds"] < 6
    for name in HERE:
        own, a_clip = values[f"{name}_own_megabytes"], values[f"{name}_own_bytes_a_clip"]
        assert own + 0.9 * a_clip < 2000, name  # with 900,000 more
