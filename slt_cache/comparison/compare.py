"""Compares runs: seeds of one configuration together, every other configuration tested against the first one."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from slt_cache.comparison.measure import GroupTest, Measures, ScoredGroup, words_of_train
from slt_cache.comparison.on_test import choices_on_test
from slt_cache.comparison.systems import (
    Group,
    System,
    apart,
    find_systems,
    grouped,
    is_of_configuration,
    require_comparable,
)
from slt_cache.metrics.base import Rules
from slt_cache.metrics.bootstrap import check_resamples, seed
from slt_cache.metrics.presets import preset_named
from slt_cache.metrics.registry import METRICS, NEURAL, metric_named
from slt_cache.metrics.scores import RESAMPLES
from slt_cache.progress import progress_steps
from slt_cache.runs.evaluations import FEWEST_TO_COMPARE, ROUNDED
from slt_cache.runs.side_by_side import settings_that_differ

CHANGED = 5
"""Default number of sentences to list in either direction."""


@dataclass(frozen=True)
class Comparison:
    """Compared runs; the first group is the baseline."""

    split: str
    clips: int
    metric: str
    """Key of the metric that decides."""
    unit: str
    """What lengths count: words or characters, as the preset splits them."""
    resamples: int
    seed: int
    groups: list[ScoredGroup]
    signatures: Mapping[str, str]
    tests: list[GroupTest]
    """Every other group against the first; the runs of a single group against the first run."""
    settings: list[tuple[str, list[str]]]
    """Settings in which the groups differ, with the value in each."""
    notes: list[str]
    """What a reader must know."""


def compare(
    named: Sequence[Path],
    models: Sequence[str] = (),
    split: str = "test",
    metric: str = "bleu4",
    resamples: int = RESAMPLES,
    changed: int = CHANGED,
) -> Comparison:
    """Compares the runs that folders, or files of scores in their eval/, name. `models` are those of each run, `metric`
    decides, and `changed` is the number of sentences to list in either direction.

    Raises InputError if a run was not scored on the split, and, naming the difference, if scores have different
    signatures, clips or references."""
    check_resamples(resamples, "--resamples")
    metric_named(metric, "--metric")
    systems = find_systems(named, models, split)
    require_comparable(systems)
    first, groups = systems[0], grouped(systems)
    base, *others = apart(groups)
    rules = Rules(preset_named(first.evaluation.preset), first.evaluation.choices)
    keys = _metrics(systems, metric)
    with progress_steps("comparing", len(systems) + len(others) * len(keys), "step") as step:
        measures = Measures(systems, rules, keys, step)
        train = words_of_train(first, rules)
        tests = [measures.test(one, base, metric, train, resamples, changed, step) for one in others]
    runs = [one.systems[0].run for one in groups]
    on_test = _on_test(systems) if split == "test" else {}
    scored = [measures.score(one, on_test) for one in groups]
    return Comparison(
        split=split,
        clips=len(measures.ids),
        metric=metric,
        unit=rules.preset.rouge_units_name.replace("blanks", "words"),
        resamples=resamples,
        seed=seed(),
        groups=scored,
        signatures=measures.signatures,
        tests=tests,
        settings=[one for one in settings_that_differ(runs) if is_of_configuration(one[0])],
        notes=[*_notes(groups, split, len(measures.ids)), *_not_reproduced(groups, scored)],
    )


def _on_test(systems: Sequence[System]) -> dict[System, list[str]]:
    """Returns what shows that choices of a system were made on test; looks at each run once."""
    of_run: dict[Path, list[System]] = {}
    for one in systems:
        of_run.setdefault(one.run.folder.resolve(), []).append(one)
    found: dict[System, list[str]] = {}
    for same in of_run.values():
        of_model = choices_on_test(same[0].run, [one.evaluation.model for one in same])
        found |= {one: of_model[one.evaluation.model] for one in same}
    return found


def _metrics(systems: Sequence[System], metric: str) -> list[str]:
    """Returns the metrics that all evaluations have, and the one that decides."""
    of_all = set.intersection(*(set(one.evaluation.signatures) for one in systems))
    return [key for key in METRICS if (key in of_all and key not in NEURAL) or key == metric]


def _notes(groups: Sequence[Group], split: str, clips: int) -> Iterator[str]:
    """Yields what makes scores or their comparison doubtful."""
    if clips < FEWEST_TO_COMPARE:
        yield f"fewer than {FEWEST_TO_COMPARE} clips: a sentence or two decide"
    if split != "test":
        yield f"scores of {split}, which is not for comparing: weights are trained on train, and kept by dev"
    for group in groups:
        seeds = [one.seed for one in group.systems]
        if len(set(seeds)) < len(seeds):
            yield f"{group.name}: several runs have the same seed, so their spread is not that over seeds"
        for one in group.systems:
            if one.evaluation.earlier_weights:
                how = one.run.command("eval", split=split, model=one.evaluation.model)
                yield f"{one.run.folder}: trained again since {one.evaluation.file.name} was scored. Score it: {how}"


def _not_reproduced(groups: Sequence[Group], scored: Sequence[ScoredGroup]) -> Iterator[str]:
    """Yields the scores that another version or another table gave."""
    for group, found in zip(groups, scored, strict=True):
        for place, one in enumerate(group.systems):
            differ = [
                f"{METRICS[key].label} {saved:.2f}, now {found.scores[key][place]:.2f}"
                for key, saved in one.evaluation.scores.items()
                if key in found.scores and abs(found.scores[key][place] - saved) >= ROUNDED
            ]
            if differ:
                yield f"{one.evaluation.file}: the saved scores are not those of its sentences ({'; '.join(differ)})"
