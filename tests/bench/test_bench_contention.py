"""Work next to busy programs, which end with the benchmark."""

import json
import os
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from slt_cache.bench import contention
from slt_cache.bench.contention import Taken, bench_contention, busy_programs
from slt_cache.config import load_config
from slt_cache.runs.run import Run
from slt_cache.threads import CHOSEN_BY_USER, NONE, SPINS, set_up_threads
from tests.helpers.commands import TINY, brief_config, slt_cache


def children() -> list[psutil.Process]:
    """Busy programs that this process has started; a new one has the name of this program for a moment."""
    return [one for one in psutil.Process().children() if one.status() != psutil.STATUS_ZOMBIE]


def test_busy_programs_keep_a_core_busy_each_and_end_with_the_block() -> None:
    others = children()
    with pytest.raises(KeyboardInterrupt), busy_programs(2):
        begun = [one for one in children() if one not in others]
        assert len(begun) == 2
        time.sleep(0.3)
        assert all(sum(one.cpu_times()[:2]) > 0 for one in begun)
        raise KeyboardInterrupt
    assert not any(one.is_running() for one in begun)


def test_ratios_are_medians_of_rounds_that_alternate_with_and_without_busy_programs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[int] = []
    taken = iter([Taken(1.0, 2.0), Taken(4.0, 3.0), Taken(3.0, 2.0), Taken(8.0, 5.0)])

    def round_of_one(run: Run) -> dict[str, Taken]:
        seen.append(len(children()))
        return {"work": next(taken)}

    monkeypatch.setattr(contention, "_prepared", lambda run: run)
    monkeypatch.setattr(contention, "_round", round_of_one)
    others = len(children())
    values = bench_contention(load_config(str(TINY)), neighbours=2)
    assert [count - others for count in seen] == [0, 2, 0, 2]
    assert (values["work_seconds"], values["work_processor_seconds"]) == (2.0, 2.0)
    assert (values["work_wall_ratio"], values["work_processor_ratio"]) == (3.0, 2.0)


def test_threads_of_each_piece_of_work_wait_as_those_of_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in CHOSEN_BY_USER:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    set_up_threads()  # as the command does
    seen: list[str] = []

    def in_a_process(task: str, *_: Any, **__: Any) -> Taken:
        seen.append(os.environ["GOMP_SPINCOUNT"])
        return Taken(1.0, 1.0)

    monkeypatch.setattr(contention, "in_a_process", in_a_process)
    run = Run(Path("run"), load_config(str(TINY)))
    for _ in range(2):
        assert list(contention._round(run)) == ["train_visual", "eval_dev", "extract_features", "train_llm"]
    assert seen == [str(SPINS), str(SPINS), str(NONE), str(SPINS)] * 2
    assert os.environ["GOMP_SPINCOUNT"] == str(SPINS)


@pytest.mark.slow
def test_wall_and_processor_time_of_every_kind_of_work_are_printed_as_ratios(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contention, "ROUNDS", 1)
    config = brief_config(tmp_path_factory.mktemp("config"))
    ran = slt_cache("bench", "contention", "--config", config, "--neighbours", 1, "--json")
    assert ran.code == 0, ran.err
    values = json.loads(ran.out)
    for name in ("train_visual", "eval_dev", "extract_features", "train_llm"):
        assert values[f"{name}_seconds"] > 0
        assert values[f"{name}_processor_seconds"] > 0
        assert values[f"{name}_wall_ratio"] > 0
        assert values[f"{name}_processor_ratio"] > 0
    assert (values["neighbours"], values["rounds"]) == (1, 1)
