"""The final scoring on dev of a training from the cache: saved weights, with the search that `eval` uses."""

from pathlib import Path

from slt_cache.checkpoints.translator import load_llm
from slt_cache.decoding.search import cut_notice, decode_cached
from slt_cache.device import pick_device
from slt_cache.features.cache import FeatureCache
from slt_cache.progress import log, progress_counter
from slt_cache.runs.run import Run
from slt_cache.runs.scoring import rounded, score_hypotheses


def score_cached_dev(run: Run, best: Path, dev_split: FeatureCache, beams: int) -> dict[str, float]:
    """Scores of saved weights, and the clips whose ends they do not read."""
    generation = run.config.generation.model_copy(update={"num_beams": beams})
    saved = load_llm(best)
    model = saved.model.to(pick_device(run.config.compute.device))
    with progress_counter("translating dev", len(dev_split), 0) as show:
        hypotheses = decode_cached(model, dev_split, saved.tokenizer, generation, show)
    notice = cut_notice(hypotheses, model.positions)
    if notice is not None:
        log(notice)
    return rounded(score_hypotheses(run.config, hypotheses, dev_split.texts))
