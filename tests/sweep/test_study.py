"""The storage of a sweep: several processes share it, and none loses or repeats a trial."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from slt_cache.metrics.registry import METRICS
from slt_cache.sweep.space import Choices, Range, Space

optuna: Any = pytest.importorskip("optuna", reason="sweep needs optuna: pip install 'optuna>=4'")

SPACE: Space = {"a": Range(1e-4, 1.0, log=True), "b": Choices(("1", "2")), "c": Range(1, 9, step=2, whole=True)}

HOLDER = """
import sys
from pathlib import Path
from slt_cache.metrics.registry import METRICS
from slt_cache.sweep.study import claimed, open_study

folder = Path(sys.argv[1])
with claimed(open_study(folder, METRICS["bleu4"], 8), folder, 0, 9, None) as trial:
    print(trial.number, flush=True)
    sys.stdin.readline()
"""


def opened(folder: Path, metric: str = "bleu4") -> Any:
    from slt_cache.sweep.study import open_study

    return open_study(folder, METRICS[metric], epochs=8)


def take(study: Any, folder: Path, trials: int = 9) -> int | None:
    """Claims a trial and lets it go, as a killed process does."""
    from slt_cache.sweep.study import claimed

    with claimed(study, folder, 0, trials, None) as trial:
        return None if trial is None else int(trial.number)


def test_proposals_follow_from_seed_and_number_whoever_asks_and_however_often(tmp_path: Path) -> None:
    from slt_cache.sweep.study import claimed, proposed

    found = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        params = []
        for _ in range(4):
            study = opened(tmp_path / name)  # as a new process does
            with claimed(study, tmp_path / name, seed, 9, None) as trial:
                params.append(proposed(trial, SPACE))
                study.tell(trial, 1.0)
        found.append(params)
    assert found[0] == found[1] != found[2]
    assert all(1e-4 <= one["a"] <= 1 and one["b"] in "12" and one["c"] in (1, 3, 5, 7, 9) for one in found[0])


def test_a_trial_of_a_killed_process_is_taken_again_with_its_values_and_one_of_a_living_process_is_not(
    tmp_path: Path,
) -> None:
    from slt_cache.sweep.study import claimed, proposed

    study = opened(tmp_path)
    with claimed(study, tmp_path, 0, 9, None) as trial:
        params = proposed(trial, SPACE)
        trial.report(1.5, 1)
    with claimed(opened(tmp_path), tmp_path, 0, 9, None) as again:
        assert again.number == trial.number and proposed(again, SPACE) == params
        study.tell(again, 2.0)
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as living:
        assert living.stdout is not None
        assert living.stdout.readline() == "1\n"
        assert take(study, tmp_path) == 2
        living.kill()
    assert take(study, tmp_path) == 1


def test_no_more_trials_begin_than_were_asked_for(tmp_path: Path) -> None:
    study = opened(tmp_path)
    for number in range(2):
        assert take(study, tmp_path, trials=2) == number
        study.tell(number, 1.0)
    assert take(study, tmp_path, trials=2) is None
    assert take(study, tmp_path, trials=3) == 2


def test_the_first_trial_has_the_values_that_are_given(tmp_path: Path) -> None:
    from slt_cache.sweep.study import claimed, proposed

    first = {"a": 0.5, "b": "2", "c": 7}
    with claimed(opened(tmp_path), tmp_path, 0, 9, first) as trial:
        assert proposed(trial, SPACE) == first


def test_a_line_that_a_full_disk_cut_off_is_dropped_and_other_damage_is_named(tmp_path: Path) -> None:
    from slt_cache.errors import InputError

    study = opened(tmp_path)
    assert take(study, tmp_path) == 0
    study.tell(0, 1.0)
    journal = tmp_path / "study.journal"
    with journal.open("ab") as file:
        file.write(b'{"op_code": 6, "wor')
    assert [trial.value for trial in opened(tmp_path).trials] == [1.0]
    journal.write_bytes(b"{broken\n" + journal.read_bytes())
    with pytest.raises(InputError, match=r"study\.journal: damaged"):
        opened(tmp_path)


def test_what_mattered_is_worth_more_and_a_few_trials_say_nothing(tmp_path: Path) -> None:
    from slt_cache.sweep.study import importances

    study = opened(tmp_path, "ter")
    assert study.direction.name == "MINIMIZE"
    kinds = {
        "a": optuna.distributions.FloatDistribution(1e-4, 1.0, log=True),
        "b": optuna.distributions.CategoricalDistribution(("1", "2")),
        "c": optuna.distributions.IntDistribution(1, 9, step=2),
    }
    for number in range(40):
        if number == 3:
            assert importances(study) == {}
        steps = 1 + 2 * (number * 3 // 8 % 5)
        params = {"a": 10 ** -(number % 8 / 2), "b": "12"[number % 2], "c": steps}
        value = float(abs(steps - 5))
        study.add_trial(optuna.trial.create_trial(params=params, distributions=kinds, value=value))
    found = importances(study)
    assert set(found) == set(kinds) and sum(found.values()) == pytest.approx(1)
    assert found["c"] == max(found.values())
