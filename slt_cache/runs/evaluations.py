"""Evaluations in a run's eval/ folder: scores, intervals, signatures, sentences."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from slt_cache.advice import command
from slt_cache.checkpoints.record import identity_of
from slt_cache.corpora.base import SPLITS, Origin
from slt_cache.errors import InputError
from slt_cache.hashes import RECORD_FILE, file_sha256, read_signed
from slt_cache.metrics.normalization import TextChoices
from slt_cache.metrics.registry import METRICS, of_text, page_columns
from slt_cache.metrics.scores import RESAMPLES, score
from slt_cache.reading import read_object
from slt_cache.runs.run import Run
from slt_cache.runs.scoring import choices_of, preset_of
from slt_cache.runs.variants import MODELS, label_of

FEWEST_SENTENCES = 2
"""Fewest sentences to resample; a single one is always the same."""
FEWEST_TO_COMPARE = 30
"""Fewest clips to call a score the best or test a difference; with fewer, a sentence or two decide."""
ROUNDED = 0.006
"""Tolerance for scores saved with two decimals."""


@dataclass(frozen=True)
class Sentence:
    """Line of an evaluation's table."""

    clip_id: str
    reference: str
    hypothesis: str


@dataclass(frozen=True)
class PartOfSplit:
    """Scores of the clips of one language, or of one corpus."""

    kind: str
    """`language` or `corpus`."""
    name: str
    clips: int
    scores: dict[str, float]
    signatures: dict[str, str]


@dataclass(frozen=True)
class Evaluation:
    """Evaluation from one eval/*.json with its table."""

    file: Path
    model: str
    split: str
    clips: int
    scores: dict[str, float]
    signatures: dict[str, str]
    earlier_weights: bool
    """Whether the model was trained again since it was scored."""
    other_table: bool
    """Whether the table is not the scored one: edited, damaged, or of a killed evaluation."""
    preset: str
    choices: TextChoices
    parts: tuple[PartOfSplit, ...] = ()
    """Scores of each language and of each corpus, if there are several."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings of search and scoring that are not the run's own."""

    @property
    def name(self) -> str:
        return label_of(self.model)

    @property
    def short_name(self) -> str:
        return self.name.split(" (")[0]

    @property
    def table(self) -> Path:
        """Path of the table of id, reference and hypothesis, next to the file, since a run folder may be moved."""
        return self.file.with_suffix(".tsv")

    @property
    def has_sentences(self) -> bool:
        """Whether the scored table exists."""
        return self.table.is_file() and not self.other_table

    def sentences(self) -> list[Sentence]:
        """Returns the scored sentences, if any. Raises InputError for a file that is not a table."""
        return read_table(self.table) if self.has_sentences else []


def saved_evaluations(run: Run) -> dict[Path, dict[str, Any]]:
    """Returns what each file of scores in eval/ holds, also those with other beams or scoring than the run's own."""
    return {path: read_signed(path) for path in sorted(run.evaluation.glob("*.json"))}


def read_evaluations(run: Run) -> list[Evaluation]:
    """Returns every evaluation of the run: test first, then by model in the order of MODELS."""
    # Skips those with other beams or scoring: one row per model.
    found = [_read(run, path, one) for path, one in saved_evaluations(run).items() if not one.get("settings")]
    splits, models = list(reversed(SPLITS)), list(MODELS)
    return sorted(found, key=lambda one: (_place(one.split, splits), _place(one.model, models)))


def read_evaluation(run: Run, path: Path) -> Evaluation:
    """Returns the evaluation in one file of scores, which may have other beams or scoring than the run's own."""
    return _read(run, path, read_signed(path))


def _read(run: Run, path: Path, saved: dict[str, Any]) -> Evaluation:
    try:
        made_from = saved.get("made_from", {})
        record = run.folder / saved["model"] / "best" / RECORD_FILE
        scored = made_from.get("weights")
        table = path.with_suffix(".tsv")
        return Evaluation(
            file=path,
            model=saved["model"],
            split=saved["split"],
            clips=saved["clips"],
            scores={key: float(saved["scores"][key]) for key in page_columns(saved["scores"])},
            signatures=dict(saved["signatures"]),
            earlier_weights=scored is not None
            and record.is_file()
            and identity_of(read_object(record)) != identity_of(scored),
            other_table=table.is_file() and saved.get("table_sha256") not in (None, file_sha256(table)),
            preset=made_from.get("preset") or preset_of(run.config),
            choices=_choices(run, made_from),
            parts=tuple(_parts(saved)),
            settings=saved.get("settings", {}),
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InputError(
            f"{path}: not an evaluation of this version ({error!r}). Delete it and run {_again(path)} again."
        ) from error


def _choices(run: Run, made_from: dict[str, Any]) -> TextChoices:
    choices = choices_of(run.config)
    models = made_from.get("models", choices.models)
    return replace(choices, **{"protocol": "", "models": models, **made_from.get("choices", choices.recorded())})


def _parts(saved: dict[str, Any]) -> Iterator[PartOfSplit]:
    """Yields the scores of each language, then of each corpus, of a file of `eval`."""
    for kind in Origin._fields[::-1]:
        for name, part in saved.get(f"by_{kind}", {}).items():
            scores = {key: float(part["scores"][key]) for key in page_columns(part["scores"])}
            yield PartOfSplit(kind, name, part["clips"], scores, dict(part["signatures"]))


def table_notices(evaluations: Sequence[Evaluation]) -> list[str]:
    """Returns notices of tables other than the scored ones."""
    return [
        f"{one.table}: not the sentences scored in {one.file.name} (edited, damaged, or left by a killed "
        f"eval), so they are not shown. Score again: {_again(one.file)}"
        for one in evaluations
        if one.other_table
    ]


def _place(name: str, order: list[str]) -> int:
    return order.index(name) if name in order else len(order)


def _again(path: Path) -> str:
    """Returns the command that writes an evaluation, eval/SPLIT.json or eval/MODEL.SPLIT.json of its run folder, or its
    table."""
    first, *others = path.stem.split(".")
    model = first if first in MODELS and others else None
    split = first if model is None else others[0]
    return command("eval", split=split if split in SPLITS else None, model=model, run=path.parents[1])


def read_table(path: Path) -> list[Sentence]:
    """Reads a table of id, reference, hypothesis. Raises InputError for any other file."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")[1:]
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text. Delete it and run {_again(path)} again.") from error
    rows = [line.split("\t", 2) for line in lines if line]
    if not rows or any(len(row) != 3 for row in rows):
        raise InputError(f"{path}: not a table of id, reference, hypothesis. Delete it and run {_again(path)} again.")
    return [Sentence(*row) for row in rows]


def intervals_of(evaluation: Evaluation) -> dict[str, tuple[float, float]]:
    """Returns 95 % bootstrap intervals over the sentences, by metric. Metrics of a neural model, and those whose saved
    score the table no longer reproduces, have none, nor has an evaluation without a table or of a single sentence."""
    sentences = evaluation.sentences()
    if len(sentences) < FEWEST_SENTENCES:
        return {}
    found = score(
        [one.hypothesis for one in sentences],
        [one.reference for one in sentences],
        evaluation.preset,
        evaluation.choices,
        RESAMPLES,
        metrics=of_text(evaluation.scores),
    )
    return {
        key: interval
        for key, value in evaluation.scores.items()
        if key in found and (interval := found[key].interval) is not None and abs(found[key].value - value) < ROUNDED
    }


def columns_of(evaluations: Sequence[Evaluation]) -> dict[str, str]:
    """Returns key and label of every metric shown in a table of these evaluations."""
    return page_columns(key for one in evaluations for key in one.scores)


def best_scores(evaluations: Sequence[Evaluation]) -> dict[str, dict[str, float]]:
    """Returns the best score of each metric on splits with several scored models, without metrics in which all are
    equal, and without splits of too few clips."""
    best: dict[str, dict[str, float]] = {}
    for split in {one.split for one in evaluations}:
        compared = [one.scores for one in evaluations if one.split == split]
        clips = min(one.clips for one in evaluations if one.split == split)
        if len(compared) > 1 and clips >= FEWEST_TO_COMPARE:
            columns = {key: [scores[key] for scores in compared if key in scores] for key in columns_of(evaluations)}
            best[split] = {key: METRICS[key].best(values) for key, values in columns.items() if len(set(values)) > 1}
    return {split: scores for split, scores in best.items() if scores}


def too_few(evaluations: Sequence[Evaluation]) -> dict[str, int]:
    """Returns the splits with too few clips to compare models, with their number of clips."""
    return {one.split: one.clips for one in evaluations if one.clips < FEWEST_TO_COMPARE}


def signatures_of(evaluations: Sequence[Evaluation]) -> list[dict[str, Any]]:
    """Returns every signature once, with the rows it applies to unless it applies to all."""
    rows: dict[tuple[str, str], list[str]] = {}
    total = 0
    for one in evaluations:
        wholes = [(f"{one.name}, {one.split}", one.scores, one.signatures)]
        parts = [(f"{one.name}, {one.split}, {part.name}", part.scores, part.signatures) for part in one.parts]
        total += len(wholes) + len(parts)
        for row, scores, signatures in (*wholes, *parts):
            for key in scores:
                rows.setdefault((METRICS[key].label, signatures.get(key, "unknown")), []).append(row)
    return [
        {"name": name, "signature": signature, "rows": [] if len(holds) == total else holds}
        for (name, signature), holds in rows.items()
    ]
