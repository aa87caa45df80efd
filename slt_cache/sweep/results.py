"""Results of a sweep, read from its study and its runs: what was found, what each setting was worth, how fast. Trains
nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna.trial import TrialState

from slt_cache.metrics.registry import METRICS
from slt_cache.metrics.seeds import MeanAndStd
from slt_cache.runs.run import Run
from slt_cache.runs.settings_use import value_of
from slt_cache.sweep.request import Sweep
from slt_cache.sweep.space import first_values, settings_of
from slt_cache.sweep.study import importances
from slt_cache.sweep.trials import ERROR, SECONDS, complete_trials, repetitions, value_of_run

STATES = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}
RUNNING = "running"


@dataclass(frozen=True)
class Trial:
    """One trial."""

    number: int
    state: str
    """complete, pruned, failed or running."""
    value: float | None
    """Final dev score of a complete trial, with the search of `eval`; the last one of a pruned trial."""
    settings: Mapping[str, Any]
    evaluations: tuple[tuple[float, float], ...]
    """Epoch and dev score of each evaluation, with generation.dev_beams."""
    seconds: float
    error: str


@dataclass(frozen=True)
class Repeated(MeanAndStd):
    """Dev scores of one of the best trials, trained with several seeds; that of the trial itself first."""

    number: int


@dataclass(frozen=True)
class TestScores:
    """The test scores of the winner."""

    number: int
    scores: Mapping[str, float]
    signature: str
    """Signature of BLEU-4."""
    others: tuple[int, ...]
    """Trials that were scored on test, too, as winners of fewer trials."""


@dataclass(frozen=True)
class Results:
    """Everything that is printed and shown of a sweep."""

    sweep: Sweep
    trials: tuple[Trial, ...]
    best: tuple[Trial, ...]
    """Complete trials, the best first."""
    own: Trial | None
    """The complete trial with the run's own settings."""
    importances: Mapping[str, float]
    """Share of each setting."""
    repeated: tuple[Repeated, ...]
    """The best trials over seeds, the best mean first; empty if none was repeated."""
    ratio: float | None
    """How many times longer a step takes from pixels (bench llm); None if it was not measured."""
    test: TestScores | None = None

    @property
    def winner(self) -> int | None:
        """Number of the best trial: by mean over seeds if the best were repeated, else by its own dev score."""
        if self.repeated:
            return self.repeated[0].number
        return self.best[0].number if self.best else None

    @property
    def counts(self) -> dict[str, int]:
        return {state: sum(trial.state == state for trial in self.trials) for state in (*STATES, RUNNING)}

    @property
    def seconds(self) -> float:
        """Seconds that processes spent on trials."""
        return sum(trial.seconds for trial in self.trials)

    @property
    def trials_an_hour(self) -> float | None:
        """Finished trials per hour and process."""
        finished = [trial.seconds for trial in self.trials if trial.state != RUNNING]
        return 3600 * len(finished) / sum(finished) if sum(finished) else None

    @property
    def hours_from_pixels(self) -> float | None:
        """Estimated hours of the same trials if every step ran the encoder again."""
        return None if self.ratio is None else self.seconds * self.ratio / 3600

    def own_value(self, name: str) -> Any:
        """Returns the run's own value of a setting."""
        return value_of(self.sweep.run.config.model_dump(mode="json"), name)


def results_of(sweep: Sweep, study: Any, seeds: int, ratio: float | None) -> Results:
    """Reads the results so far."""
    found = study.get_trials(deepcopy=False)
    trials = [_trial(sweep, one) for one in found if one.state != TrialState.WAITING]
    best = [_trial(sweep, one) for one in complete_trials(sweep, study)]
    first = first_values(sweep.space, sweep.run.config)
    own = None if first is None else settings_of(sweep.space, first)
    return Results(
        sweep,
        tuple(trials),
        tuple(best),
        next((trial for trial in best if trial.settings == own), None),
        importances(study),
        _repeated(sweep, study, best, seeds),
        ratio,
    )


def _trial(sweep: Sweep, frozen: Any) -> Trial:
    state = next((name for name, one in STATES.items() if one == frozen.state), RUNNING)
    evaluations = tuple(sorted((float(epoch), score) for epoch, score in frozen.intermediate_values.items()))
    value = frozen.value if frozen.value is not None else (evaluations[-1][1] if evaluations else None)
    seconds, error = frozen.user_attrs.get(SECONDS, 0.0), frozen.user_attrs.get(ERROR, "")
    return Trial(
        frozen.number, state, value, settings_of(sweep.space, frozen.params), evaluations, float(seconds), error
    )


def _repeated(sweep: Sweep, study: Any, best: Sequence[Trial], seeds: int) -> tuple[Repeated, ...]:
    """Returns the best trials over all their finished seeds."""
    values: dict[int, list[float]] = {}
    for repetition in repetitions(sweep, study, seeds):
        value = value_of_run(sweep, Run(sweep.trial_folder(repetition.name), sweep.run.config))
        if value is not None:
            values.setdefault(repetition.number, []).append(value)
    of_trial = {trial.number: trial.value for trial in best}
    found = [Repeated((of_trial[number] or 0.0, *more), number) for number, more in values.items()]
    sign = 1 if sweep.metric.lower_is_better else -1
    return tuple(sorted(found, key=lambda one: sign * one.mean))


def to_json(results: Results, page: Path) -> dict[str, Any]:
    """Returns the results as plain values."""
    sweep, rate, hours = results.sweep, results.trials_an_hour, results.hours_from_pixels
    best = results.best[0] if results.best else None
    return {
        "run": str(sweep.run.folder),
        "sweep": str(sweep.folder),
        "trials": results.counts,
        "trials_per_hour": None if rate is None else round(rate, 2),
        "metric": sweep.metric.key,
        "best": None if best is None else {**_to_json(best), "run": str(sweep.trial_folder(str(best.number)))},
        "own_settings": None if results.own is None else _to_json(results.own),
        "importances": {name: round(share, 4) for name, share in results.importances.items()},
        "seeds": [
            {"trial": one.number, "values": list(one.values), "mean": round(one.mean, 4)} for one in results.repeated
        ],
        "winner": results.winner,
        "hours": round(results.seconds / 3600, 4),
        "from_pixels": None if hours is None else {"ratio": results.ratio, "hours": round(hours, 2)},
        "test": None
        if results.test is None
        else {
            "trial": results.test.number,
            "scores": dict(results.test.scores),
            "signature": results.test.signature,
            "also_scored": list(results.test.others),
        },
        "report": str(page),
    }


def _to_json(trial: Trial) -> dict[str, Any]:
    return {"trial": trial.number, "dev": trial.value, "settings": dict(trial.settings)}


def lines_of(results: Results) -> list[str]:
    """Returns the results as lines of text."""
    sweep, label = results.sweep, results.sweep.metric.label
    counts = ", ".join(f"{count} {state}" for state, count in results.counts.items() if count)
    rate = results.trials_an_hour
    speed = "" if rate is None else f"; {rate:.1f} trials per hour and process"
    lines = [f"{sweep.folder}: {len(results.trials)} trials ({counts}){speed}"]
    if results.best:
        best = results.best[0]
        own = "were not tried" if results.own is None else f"{results.own.value:.2f}, trial {results.own.number}"
        lines.append(f"best: trial {best.number}, dev {label} {best.value:.2f} (the run's own settings: {own})")
        lines += [f"  {row}" for row in setting_rows(results)]
    for one in results.repeated:
        deviation = "" if one.deviation is None else f" ± {one.deviation:.2f}"
        lines.append(f"trial {one.number} over {len(one.values)} seeds: dev {label} {one.mean:.2f}{deviation}")
    lines += [pixels_line(results), *test_lines(results)]
    return lines


def setting_rows(results: Results) -> list[str]:
    """Returns a line for each setting: best value, own value, worth."""
    names = results.importances or dict.fromkeys(results.sweep.space)
    width = max(map(len, names))
    best, own = results.best[0].settings, {name: text_of(results.own_value(name)) for name in names}
    return [
        f"{name:<{width}}  {text_of(best[name]):<10}  own {own[name]:<10}  {worth(results, name)}" for name in names
    ]


def worth(results: Results, name: str) -> str:
    share = results.importances.get(name)
    return "worth: too few trials" if share is None else f"worth {share:.0%}"


def text_of(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else "null" if value is None else str(value)


def pixels_line(results: Results) -> str:
    """Returns what the same sweep would take without the cache."""
    hours = results.hours_from_pixels
    if hours is None:
        why = "estimated once all trials are done" if results.counts[RUNNING] else "not estimated, without videos"
        return f"from the cache: {results.seconds / 3600:.2f} hours; from pixels: {why}"
    return (
        f"from the cache: {results.seconds / 3600:.2f} hours; the same trials from pixels: about {hours:,.1f} hours "
        f"(estimated: x {results.ratio:.1f}, the ratio of bench llm)"
    )


def test_lines(results: Results) -> list[str]:
    test = results.test
    if test is None:
        return []
    also = "".join(f"; trial {number} was scored on it before" for number in test.others)
    scores = ", ".join(f"{METRICS[key].label} {value:.2f}" for key, value in test.scores.items())
    return [f"test, trial {test.number}{also}: {scores}", f"  {test.signature}"]
