"""The last evaluation on dev of a training: its best weights, with the search that `eval` uses.

While a training goes on, dev is searched with `generation.dev_beams`, which is quick and decides which weights are the
best; what is recorded in the end is comparable with the scores of `eval`. The metrics log keeps the others."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from slt_cache.checkpoints.llm import load_llm
from slt_cache.checkpoints.record import Record
from slt_cache.decoding.decode import cut_notice, decode_cached
from slt_cache.device import pick_device
from slt_cache.features.cache import FeatureCache
from slt_cache.pipeline.run import Run
from slt_cache.pipeline.scoring import rounded, score_hypotheses
from slt_cache.pipeline.terminal import counting, say
from slt_cache.processes import leads, wait_for_all


def with_final_dev(
    run: Run, record: Record, scores: Callable[[], dict[str, float]], save: Callable[[Record], None]
) -> Record:
    """The record with the dev scores of `generation.num_beams`, which `scores` gives, saved. Does nothing where they
    are there already, where there is no dev, or where an older version made the record."""
    beams = run.config.generation.num_beams
    if not record.dev or record.dev_beams in (None, beams):
        return record
    say(f"{record.stage}: the best weights once more over dev, with {beams} beams")
    final = replace(record, dev=scores(), dev_beams=beams)
    if leads():
        save(final)
    wait_for_all()
    return final


def score_cached_dev(run: Run, best: Path, dev_split: FeatureCache) -> dict[str, float]:
    """Scores of saved weights, and the clips whose ends they do not read."""
    saved = load_llm(best)
    model = saved.model.to(pick_device(run.config.compute.device))
    with counting("translating dev", len(dev_split), 0) as show:
        hypotheses = decode_cached(model, dev_split, saved.tokenizer, run.config.generation, show)
    notice = cut_notice(hypotheses, model.positions)
    if notice is not None:
        say(notice)
    return rounded(score_hypotheses(run.config, hypotheses, dev_split.texts))
