"""The evaluations to compare: found in run folders, refused unless their scores compare, grouped by configuration."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from slt_cache.corpora.base import SPLITS, no_such_split
from slt_cache.errors import InputError
from slt_cache.metrics.registry import METRICS
from slt_cache.runs.evaluations import Evaluation, Sentence, read_evaluation, read_evaluations, table_notices
from slt_cache.runs.run import Run, open_run
from slt_cache.runs.side_by_side import flat_settings, names_of
from slt_cache.runs.variants import LLM, MODELS

SEEDS = ("seed", "llm_training.seed", "llm_pretraining.seed", "features.view_seed")
"""Settings in which runs of one configuration may differ."""
OF_THE_MACHINE = ("compute.", "corpus.root", "generation.batch_size")
"""Prefixes of settings that say where a run was computed."""
OF_A_BOOTSTRAP = ("bs", "seed")
"""Parts of a signature that change no score."""


@dataclass(frozen=True, eq=False)
class System:
    """One model of one run as it was scored on a split."""

    run: Run
    evaluation: Evaluation
    name: str
    """Name of the run, which no other run of the comparison has."""

    @cached_property
    def sentences(self) -> list[Sentence]:
        return self.evaluation.sentences()

    @property
    def seed(self) -> int:
        model = MODELS.get(self.evaluation.model)
        return (self.run.config.of_stage_2 if model is not None and model.after_stage_1 else self.run.config).seed

    @property
    def configuration(self) -> tuple[object, ...]:
        """What runs of one configuration share: model, settings but seeds and machine, and how it was decoded."""
        settings = {name: value for name, value in flat_settings(self.run).items() if is_of_configuration(name)}
        return self.evaluation.model, repr(settings), repr(self.evaluation.settings)


def is_of_configuration(setting: str) -> bool:
    """Returns whether runs that differ in this setting have different configurations."""
    of_machine = setting.startswith(OF_THE_MACHINE) and setting != "compute.precision"
    return setting not in SEEDS and not of_machine


@dataclass(frozen=True)
class Group:
    """Systems of one configuration."""

    name: str
    systems: tuple[System, ...]

    @property
    def model(self) -> str:
        return self.systems[0].evaluation.model


def find_systems(named: Sequence[Path], models: Sequence[str], split: str) -> list[System]:
    """Returns the systems that run folders, or files of scores in their eval/, name. `models` are those of each run; by
    default stage 2, or else the first that was scored, and of a single run all. Raises InputError for one that was not
    scored on the split, and if there is only one."""
    if split not in SPLITS:
        raise InputError(f"--split {no_such_split(split)}.")
    for model in models:
        if model not in MODELS:
            raise InputError(f"--model {model}: no such model. Use {', '.join(MODELS)}.")
    runs = [open_run(path.parent.parent if _is_file_of_scores(path) else path) for path in named]
    found = [
        System(run, evaluation, name)
        for path, run, name in zip(named, runs, names_of(runs), strict=True)
        for evaluation in _evaluations(path, run, models, split, alone=len(named) == 1)
    ]
    if len(found) == 1:
        run, scored = found[0].run, found[0].evaluation
        raise InputError(
            f"{run.folder}: only {scored.short_name} was scored on {split}, and there is nothing to compare it with. "
            f"Name another run, or score another model of this one: {run.command('eval', split=split)} --model NAME"
        )
    return found


def _is_file_of_scores(path: Path) -> bool:
    """Returns whether a path names scores, or the table next to them."""
    return path.suffix in (".json", ".tsv") and path.is_file()


def _evaluations(path: Path, run: Run, models: Sequence[str], split: str, alone: bool) -> list[Evaluation]:
    if _is_file_of_scores(path):
        found = [read_evaluation(run, path.with_suffix(".json"))]
        if found[0].split != split:
            raise InputError(f"{path}: scores of {found[0].split}, not of {split}. Add --split, or name another file.")
        return found
    found = [one for one in read_evaluations(run) if one.split == split]
    of_model = {one.model: one for one in found}
    for model in models or ([] if found else [LLM.name]):
        if model not in of_model:
            scored = f" (only {', '.join(of_model)})" if of_model else ""
            how = run.command("eval", split=split, model=None if model == LLM.name else model)
            raise InputError(f"{run.folder}: {model} was not scored on {split}{scored}. Score it: {how}")
    if models:
        return [of_model[model] for model in dict.fromkeys(models)]
    return found if alone else [of_model.get(LLM.name, found[0])]


def grouped(systems: Sequence[System]) -> list[Group]:
    """Returns the systems by configuration, in their order. The first run of a group names it."""
    found: dict[tuple[object, ...], list[System]] = {}
    for one in systems:
        found.setdefault(one.configuration, []).append(one)
    several = len({one.evaluation.model for one in systems}) > 1
    groups = [Group(_name(same[0], several), tuple(same)) for same in found.values()]
    names = [one.name for one in groups]
    return [
        replace(one, name=f"{one.name} ({one.systems[0].evaluation.file.stem})") if names.count(one.name) > 1 else one
        for one in groups
    ]


def apart(groups: Sequence[Group]) -> list[Group]:
    """Returns the groups to test: those that there are, or the runs of a single one each by itself."""
    if len(groups) > 1:
        return list(groups)
    [only] = groups
    names = [one.name for one in only.systems]
    shown = [
        one.name if names.count(one.name) == 1 else f"{one.name} ({place})" for place, one in enumerate(only.systems, 1)
    ]
    return [Group(name, (one,)) for name, one in zip(shown, only.systems, strict=True)]


def _name(system: System, with_model: bool) -> str:
    return f"{system.name}, {system.evaluation.short_name}" if with_model else system.name


def require_comparable(systems: Sequence[System]) -> None:
    """Raises InputError, naming the difference, unless all systems translated the same clips, and were scored alike
    against the same references."""
    first, *others = systems
    for one in systems:
        if not one.sentences:
            gone = f"{one.evaluation.table}: the scored sentences are gone, so they cannot be compared. Score again."
            raise InputError((table_notices([one.evaluation]) or [gone])[0])
    for one in others:
        _require_same_signatures(first, one)
        _require_same_references(first, one)


def signature_parts(signature: str) -> dict[str, str]:
    """Returns the parts of a signature by name, without those of a bootstrap, which changes no score."""
    parts = dict(part.partition(":")[::2] for part in signature.split("|"))
    return {name: value for name, value in parts.items() if name not in OF_A_BOOTSTRAP}


def _require_same_signatures(first: System, other: System) -> None:
    ours, theirs = first.evaluation.signatures, other.evaluation.signatures
    metrics: dict[str, list[str]] = {}
    for key in [key for key in METRICS if key in ours and key in theirs]:
        one, two = signature_parts(ours[key]), signature_parts(theirs[key])
        for name in [name for name in {**one, **two} if one.get(name) != two.get(name)]:
            difference = f"{name} is {one.get(name) or 'not there'} and {two.get(name) or 'not there'}"
            metrics.setdefault(difference, []).append(METRICS[key].label)
    if metrics:
        named = "; ".join(f"{difference} ({', '.join(labels)})" for difference, labels in metrics.items())
        raise InputError(
            f"{first.evaluation.file} and {other.evaluation.file} have different signatures, so their scores do not "
            f"compare: {named}. Score both alike, such as with --set scoring.preset, and name the files of scores that "
            "eval then writes."
        )
    if not ours.keys() & theirs.keys():
        raise InputError(f"{first.evaluation.file} and {other.evaluation.file} have no metric in common. Score again.")


def _require_same_references(first: System, other: System) -> None:
    ours, theirs = ({one.clip_id: one.reference for one in each.sentences} for each in (first, other))
    for one, clips, rest in ((first, ours, theirs), (other, theirs, ours)):
        alone = [clip_id for clip_id in clips if clip_id not in rest]
        if alone:
            missing = (other if one is first else first).evaluation.table
            raise InputError(
                f"{one.evaluation.table}: {len(alone):,} of its {len(clips):,} clips are not in {missing}, such as "
                f"{alone[0]!r}. Compare scores of the same clips."
            )
    differ = [clip_id for clip_id in ours if ours[clip_id] != theirs[clip_id]]
    if differ:
        raise InputError(
            f"{first.evaluation.table} and {other.evaluation.table}: {len(differ):,} references differ, such as "
            f"that of {differ[0]!r}. Compare scores of the same references."
        )
