"""Sweeps: trials are ordinary runs, stopped ones resume, bad ones are pruned or fail, and the winner is scored once."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from slt_cache.checkpoints.record import read_record
from slt_cache.config import load_config
from tests.helpers.commands import TINY, Ran, slt_cache
from tests.helpers.imported_run import imported_cache
from tests.helpers.tiny_run import succeed, train_tiny

optuna: Any = pytest.importorskip("optuna", reason="sweep needs optuna: pip install 'optuna>=4'")

DIM = 6
SPACE = "llm_training: {lr: {low: 1.0e-4, high: 1.0e-2, log: true}, batch_size: [2, 4]}"
BRIEF = ("light_t.size=tiny", "llm_training.epochs=2", "generation.num_beams=1", "generation.max_new_tokens=4")
OWN = ("features.level=imported", "corpus.name=tsv", "llm.language=de_DE", "llm_training.batch_size=2")

Sweep = Callable[..., Ran]


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    """Runs a sweep of a tiny Light-T over four random clips; words follow those of its settings."""
    cache = imported_cache(tmp_path / "feats.h5", DIM)
    (tmp_path / "space.yaml").write_text(SPACE, encoding="utf-8")
    chosen = [part for word in (*OWN, *BRIEF) for part in ("--set", word)]
    words = ["sweep", tmp_path / "space.yaml", "--features", cache, "--run", tmp_path / "run", "--llm", "light-t"]

    def run(*more: object) -> Ran:
        return slt_cache(*words, *chosen, *more, "--json")

    return run


def study_of(folder: Path) -> Any:
    from slt_cache.metrics.registry import METRICS
    from slt_cache.sweep.study import open_study

    return open_study(folder, METRICS["bleu4"], epochs=2)


def outcome(folder: Path) -> list[tuple[Any, ...]]:
    return [(one.state.name, one.value, one.params, one.intermediate_values) for one in study_of(folder).trials]


def test_trials_are_ordinary_runs_and_the_own_settings_are_the_first(sweep: Sweep, tmp_path: Path) -> None:
    ran = sweep("--trials", 3)
    assert ran.code == 0, ran.err
    found, folder = json.loads(ran.out), tmp_path / "run" / "sweeps" / "space"
    assert found["trials"] == {"complete": 3, "pruned": 0, "failed": 0, "running": 0}
    assert found["trials_per_hour"] > 0 and found["from_pixels"] is None
    own = found["own_settings"]
    assert (own["trial"], own["settings"]) == (0, {"llm_training.lr": 5e-4, "llm_training.batch_size": 2})
    assert found["best"]["dev"] >= own["dev"]
    for number, (_, value, params, evaluations) in enumerate(outcome(folder)):
        run = folder / "trials" / str(number)
        record = read_record(run / "llm" / "best")
        assert record is not None and record.dev is not None
        assert record.dev["bleu4"] == value and list(evaluations) == [1, 2]
        training = load_config(str(run / "config.yaml")).llm_training
        assert training.lr == params["llm_training.lr"] == record.settings["llm_training"]["lr"]
        assert str(training.batch_size) == params["llm_training.batch_size"]
        assert not (run / "llm" / "state.pt").exists()
    page = (folder / "sweep.html").read_text(encoding="utf-8")
    assert "polyline" in page and "What each setting was worth" in page and "best dev BLEU-4" in page
    assert found["report"] == str(folder / "sweep.html")
    again = sweep("--trials", 3)
    assert again.code == 0 and "epoch" not in again.err and json.loads(again.out)["best"] == found["best"]


def test_a_stopped_sweep_resumes_within_its_trial_and_ends_as_if_nothing_had_happened(
    sweep: Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from slt_cache.sweep import trials

    save, calls = trials._Watch.save_seconds, []

    def stop(watch: Any) -> None:
        calls.append(watch)
        if len(calls) == 4:  # trial 1, after its first epoch
            raise SystemExit(77)
        save(watch)

    whole = tmp_path / "run" / "sweeps" / "whole"
    assert sweep("--trials", 2, "--name", "whole").code == 0
    monkeypatch.setattr(trials._Watch, "save_seconds", stop)
    assert sweep("--trials", 2).code == 77
    folder = tmp_path / "run" / "sweeps" / "space"
    assert [state for state, *_ in outcome(folder)] == ["COMPLETE", "RUNNING"]
    monkeypatch.setattr(trials._Watch, "save_seconds", save)
    ran = sweep("--trials", 2)
    assert ran.code == 0 and "resumes after epoch 1" in ran.err and "trial 0 (" not in ran.err, ran.err
    assert outcome(folder) == outcome(whole)
    for number in ("0", "1"):
        weights = [one / "trials" / number / "llm" / "best" / "model.safetensors" for one in (folder, whole)]
        assert weights[0].read_bytes() == weights[1].read_bytes()


def test_pruned_trials_keep_their_curve_and_no_weights(
    sweep: Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(optuna.pruners, "MedianPruner", lambda *_: optuna.pruners.ThresholdPruner(lower=1e9))
    ran = sweep("--trials", 2)
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["trials"]["pruned"] == 2 and json.loads(ran.out)["best"] is None
    for number in ("0", "1"):
        llm = tmp_path / "run" / "sweeps" / "space" / "trials" / number / "llm"
        assert (llm / "last" / "metrics.jsonl").is_file()
        assert not [*llm.rglob("*.safetensors"), *llm.rglob("state.pt")]
    assert sweep("--trials", 2, "--score-test").code == 2


def test_a_trial_whose_settings_do_not_work_fails_alone_and_several_end_the_sweep(sweep: Sweep, tmp_path: Path) -> None:
    (tmp_path / "space.yaml").write_text("llm_training.lr: [0.0005, 1.0e+30]\nllm_training.accumulate: [1]\n")
    ran = sweep("--trials", 2, "--set", "llm_training.epochs=3", "--set", "seed=1")
    states = [state for state, *_ in outcome(tmp_path / "run" / "sweeps" / "space")]
    assert ran.code == 0 and states[0] == "COMPLETE", ran.err
    (tmp_path / "space.yaml").write_text("llm_training.lr: [1.0e+30, 1.0e+31]\n")
    ran = sweep("--trials", 9, "--name", "hopeless", "--set", "llm_training.epochs=3")
    assert ran.code == 1 and "the loss became" in ran.err.splitlines()[-1], ran.err
    assert "the run's own settings are not tried" in ran.err
    assert [state for state, *_ in outcome(tmp_path / "run" / "sweeps" / "hopeless")] == ["FAIL"] * 3


def test_a_sweep_with_another_space_or_other_settings_is_refused_by_name(sweep: Sweep, tmp_path: Path) -> None:
    assert sweep("--trials", 1).code == 0
    other = sweep("--trials", 1, "--set", "llm_training.weight_decay=0.5")
    assert other.code == 2 and "llm_training.weight_decay: made with 0.0, asked for 0.5" in other.err, other.err
    (tmp_path / "space.yaml").write_text("llm_training.lr: [0.0005, 0.001]\n")
    changed = sweep("--trials", 1)
    assert changed.code == 2 and "llm_training.batch_size is searched elsewhere" in changed.err, changed.err
    assert sweep("--trials", 1, "--name", "other").code == 0


def test_an_invalid_space_or_a_missing_split_is_refused_before_anything_is_written(
    sweep: Sweep, tmp_path: Path
) -> None:
    (tmp_path / "space.yaml").write_text("llm_training.lrr: [1]\n")
    ran = sweep()
    assert ran.code == 2 and "llm_training.lrr" in ran.err and len(ran.err.splitlines()) <= 2, ran.err
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_the_best_are_repeated_over_seeds_and_the_winner_is_scored_on_test_once(tmp_path: Path) -> None:
    run = train_tiny(tmp_path / "run", "generation.num_beams=1")
    (tmp_path / "space.yaml").write_text("llm_training.lr: [0.001, 0.003]\n")
    before = sorted(path for path in run.rglob("*"))
    words = ("sweep", tmp_path / "space.yaml", "--run", run, "--trials", 2, "--seeds", 2, "--score-test", "--json")
    ran = succeed(*map(str, words))
    found = json.loads(ran.out)
    assert [len(one["values"]) for one in found["seeds"]] == [2, 2]
    assert found["winner"] == found["seeds"][0]["trial"] == found["test"]["trial"]
    ratio, hours = found["from_pixels"]["ratio"], found["from_pixels"]["hours"]
    assert ratio > 0 and hours == pytest.approx(found["hours"] * ratio, abs=0.02)
    folder = run / "sweeps" / "space"
    seeded = read_record(folder / "trials" / "0-seed1" / "llm" / "best")
    assert seeded is not None and seeded.settings["seed"] == 1
    assert [path for path in before if not path.exists()] == []
    assert "pre-training" not in ran.err.replace("pre-training: trained already", "")
    again = succeed(*map(str, words))
    assert "translating test" not in again.err and json.loads(again.out)["test"] == found["test"]
    succeed("verify", folder / "trials" / "0")
    succeed("report", "--run", folder / "trials" / "0", "--compare", folder / "trials" / "1")
    assert TINY.is_file()
