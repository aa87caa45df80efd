"""Builds the report of a run folder, a self-contained HTML page: scores, clips, curves, lengths, settings, comparison
with other runs.

Trains and translates nothing: it shows what `train-visual`, `train-llm` and `eval` wrote. The page says what no longer
exists, such as videos or the feature cache."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from slt_cache.advice import command
from slt_cache.corpora.base import SPLITS, Clip, of_split
from slt_cache.corpora.manifest import read_manifest
from slt_cache.corpora.registry import corpus_of
from slt_cache.errors import InputError, SltCacheError
from slt_cache.features.file import CacheFile
from slt_cache.features.place import is_cache
from slt_cache.files import write_text
from slt_cache.metrics.paired import SIGNIFICANT
from slt_cache.metrics.registry import METRICS
from slt_cache.pipeline.run_corpus import moved_corpus
from slt_cache.progress import log, progress_steps
from slt_cache.report.clip_rows import Clips, read_clips, with_evidence, with_pictures
from slt_cache.report.comparison import (
    Compared,
    compare_evaluations,
    compare_runs,
    model_comparisons,
    run_comparisons,
)
from slt_cache.report.grounding import ShownGrounding, read_shown_grounding
from slt_cache.report.lengths import read_lengths
from slt_cache.report.strips import MOST_FRAMES
from slt_cache.report.template import render
from slt_cache.report.trainings import Training, draw_curves, draw_norms, read_trainings, shared_axes
from slt_cache.runs.evaluations import (
    FEWEST_TO_COMPARE,
    Evaluation,
    best_scores,
    columns_of,
    intervals_of,
    read_evaluations,
    signatures_of,
    table_notices,
    too_few,
)
from slt_cache.runs.run import Run

LANGUAGES = {"de": "German", "en": "English", "zh": "Chinese"}
MOST_BYTES = 4_900_000
"""Largest size of the page; pictures of clips are left out if it would be larger."""


def write_report(run: Run, others: Sequence[Run] = ()) -> Path:
    """Writes report.html of the run folder, compared with the other runs. Raises InputError if there is nothing to
    report."""
    found = [(one, read_evaluations(one), read_trainings(one)) for one in (run, *others)]
    for one, evaluations, trainings in found:
        if not evaluations and not trainings:
            raise InputError(
                f"{one.folder}: nothing to report: neither a training nor an evaluation. "
                f"Train first ({one.command('train-visual')}, or {command('demo')} for everything), "
                "or name another folder."
            )
        for notice in table_notices(evaluations):
            log(f"warning: {notice}")
    _, evaluations, trainings = found[0]
    manifest = read_manifest(run.manifest) if run.manifest.is_file() else []
    shown = read_clips(run, evaluations)
    grounding = read_shown_grounding(run, shown[0]) if shown else None
    if shown and isinstance(grounding, ShownGrounding):
        shown = (shown[0], with_evidence(shown[1], grounding.of_clip))
    cache = _open_cache(run)
    page: dict[str, Any] = {
        "head": _head(run, manifest, evaluations, trainings),
        "columns": columns_of(evaluations),
        "table_notices": table_notices(evaluations),
        **_scores(evaluations, run_comparisons([(one, scored) for one, scored, _ in found])),
        "comparison": compare_runs([run, *others]) if others else None,
        "trainings": trainings,
        "curves": draw_curves(trainings),
        "shared_axes": shared_axes(trainings),
        "most_frames": MOST_FRAMES,
        "norms": draw_norms(trainings),
        "lengths": read_lengths(cache, manifest, shown[0] if shown else None),
        "config": _config_text(run),
        "grounding": grounding,
        "clips": shown[1] if shown else None,
    }
    if shown is not None:
        page["clips"] = _pictured(run, cache, *shown, manifest, page)
    write_text(run.report, _render(page))
    return run.report


def _render(page: dict[str, Any]) -> str:
    return render("report.html.jinja", page, script="clips.js")


def _open_cache(run: Run) -> CacheFile | str:
    """Opens the run's feature cache; returns the reason if that is not possible."""
    if not is_cache(run.features):
        return f"this run has no feature cache; {run.command('extract-features --split all')} makes it"
    try:
        return CacheFile(run.features)
    except SltCacheError as error:
        return str(error).rstrip(".")


def _pictured(
    run: Run,
    cache: CacheFile | str,
    evaluation: Evaluation,
    clips: Clips,
    manifest: Sequence[Clip],
    page: dict[str, Any],
) -> Clips:
    """Adds as many pictures as fit into the page."""
    room = MOST_BYTES - len(_render(page).encode())
    moved = moved_corpus(run, manifest)
    if moved is not None:
        log(f"report: no pictures of clips; {moved}")
    pictured = with_pictures(run, cache, evaluation, clips, {clip.id: clip for clip in manifest}, room)
    if pictured.pictured < len(clips.rows):
        log(f"report: pictures of {pictured.pictured:,} of {len(clips.rows):,} clips fit into a page of 5 MB")
    return pictured


def _head(
    run: Run, clips: Sequence[Clip], evaluations: Sequence[Evaluation], trainings: Sequence[Training]
) -> dict[str, Any]:
    """Returns title and introduction."""
    corpus = run.config.corpus
    # The sentences of your own corpus are in the language that decoding starts with.
    code = (corpus_of(run.config).language_code(corpus) or run.config.llm.language or "")[:2]
    return {
        "name": run.folder.resolve().name,
        "corpus": corpus.name,
        "language_code": code,
        "language": LANGUAGES.get(code, code or "spoken-language"),
        "counts": {split: len(of_split(clips, split)) for split in SPLITS},
        "keep_every": run.config.video.keep_every,
        "size": run.config.video.size,
        "dev_beams": run.config.generation.dev_beams,
        "num_beams": run.config.generation.num_beams,
        "has_stage_2": any(one.key == "llm" for one in trainings) or any(one.model == "llm" for one in evaluations),
        "eval_command": run.command("eval"),
    }


def _scores(evaluations: Sequence[Evaluation], runs: Sequence[Compared]) -> dict[str, Any]:
    """Returns the scores, and everything that is computed from resampled sentences."""
    few = too_few(evaluations)
    models = model_comparisons([one for one in evaluations if one.split not in few])
    total = len(evaluations) + sum(len(compared.others) for compared in (*models, *runs))
    with progress_steps("report: intervals and paired tests", total, "score") as step:
        intervals = {}
        for one in evaluations:
            intervals[one.file.name] = intervals_of(one)
            step()
        models_compared = [compare_evaluations(compared, step) for compared in models]
        runs_compared = [compare_evaluations(compared, step) for compared in runs]
    return {
        "evaluations": evaluations,
        "best": best_scores(evaluations),
        "too_few": few,
        "fewest": FEWEST_TO_COMPARE,
        "intervals": intervals,
        "signatures": signatures_of(evaluations),
        "models_compared": models_compared,
        "runs_compared": runs_compared,
        "significant": SIGNIFICANT,
        "downwards": [METRICS[key].label for key in columns_of(evaluations) if METRICS[key].lower_is_better],
    }


def _config_text(run: Run) -> str:
    if run.config_file.is_file():
        return run.config_file.read_text(encoding="utf-8")
    return yaml.safe_dump(run.config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
