"""Grounding of an evaluated model, measured, summarized and saved next to its sentences."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slt_cache.corpora.registry import language_code
from slt_cache.decoding.search import Hypothesis
from slt_cache.distributed.processes import barrier, is_main_process
from slt_cache.features.streams import CachedSplit, ClipSplit
from slt_cache.grounding.alterations import mean_step
from slt_cache.grounding.evidence import Reader
from slt_cache.grounding.files import grounding_file, write_grounding
from slt_cache.grounding.measure import measure_grounding
from slt_cache.grounding.summary import summarize
from slt_cache.metrics.base import Rules
from slt_cache.metrics.presets import preset_named
from slt_cache.metrics.registry import of_text
from slt_cache.models.translators import SignTranslator
from slt_cache.runs.run import Run
from slt_cache.runs.scoring import choices_of, metrics_of, preset_of
from slt_cache.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class Grounding:
    """Grounding of a model on a split."""

    file: Path
    """Path of the figures of each clip."""
    figures: dict[str, Any]


def ground(
    run: Run,
    model: tuple[SignTranslator, Tokenizer],
    split: ClipSplit,
    trained: CachedSplit | None,
    hypotheses: Sequence[Hypothesis],
    table: Path,
) -> Grounding:
    """Measures the grounding of hypotheses and writes that of each clip next to their table. A blank step is the mean
    over the `trained` clips, or without any, such as for a model with an encoder of its own, over the split itself."""
    blank = mean_step(split if trained is None else trained)
    reader = Reader(*model, blank, language_code(run.config))
    clips = measure_grounding(reader, split, hypotheses, run.config.generation)
    rules = Rules(preset_named(preset_of(run.config)), choices_of(run.config))
    figures = summarize(clips, rules, of_text(metrics_of(run.config)))
    where = f"mean of these {len(clips)} clips" if trained is None else f"mean of {trained.split} in {trained.path}"
    if is_main_process():
        write_grounding(table, clips)
    barrier()
    return Grounding(grounding_file(table), {"file": str(grounding_file(table)), "blank_step": where, **figures})
