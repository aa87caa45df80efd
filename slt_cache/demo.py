"""Demo: all steps on the demo corpus. Each step says what it does and why, and is skipped if done."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from slt_cache.bench.cache import bench_cache
from slt_cache.corpora.base import SPLITS, of_split
from slt_cache.corpora.registry import corpus_of
from slt_cache.device import under_load
from slt_cache.distributed.processes import join, size
from slt_cache.errors import InputError
from slt_cache.files import write_json
from slt_cache.hashes import RECORD_FILE
from slt_cache.metrics.registry import IN_SUMMARY, METRICS
from slt_cache.pipeline.evaluate import evaluate
from slt_cache.pipeline.extract import extract
from slt_cache.pipeline.prepare import ensure_clips
from slt_cache.pipeline.pretrain_llm import pretrain
from slt_cache.pipeline.train_baseline import train_baseline
from slt_cache.pipeline.train_llm import train_llm
from slt_cache.pipeline.train_visual import train_visual
from slt_cache.pipeline.translate import Translation, Translator
from slt_cache.progress import log
from slt_cache.reading import read_object
from slt_cache.report import write_report
from slt_cache.runs.eval_files import saved_scores
from slt_cache.runs.run import Run
from slt_cache.runs.scoring import rounded
from slt_cache.runs.variants import BASELINE, label_of

SAMPLES = 3

Result = TypeVar("Result")


@dataclass(frozen=True)
class Demo:
    """Results of the demo."""

    scores: dict[str, dict[str, float]]
    """Test scores of each trained model of MODELS."""
    clips: int
    """Number of test clips."""
    cache: dict[str, Any]
    """Results of `bench cache`."""
    samples: tuple[tuple[str, Translation], ...]
    """Reference and translation of some test videos, straight from the mp4 files."""
    seconds: float
    report: Path
    load: str = ""
    """Note after the seconds if the machine was busy."""

    def to_json(self) -> dict[str, Any]:
        samples = [
            {"video": str(found.video), "reference": reference, "text": found.text} for reference, found in self.samples
        ]
        return {
            "clips": self.clips,
            "scores": self.scores,
            "cache": self.cache,
            "samples": samples,
            "seconds": round(self.seconds, 1),
            "report": str(self.report),
        }


def run_demo(run: Run, full: bool) -> Demo:
    """Prepares, trains, extracts, fine-tunes, scores and reports, skipping finished steps. Raises InputError for
    another corpus or feature level than the demo's, and for several processes."""
    join()
    if size() > 1:
        raise InputError(
            f"demo: runs as one process, but {size()} were started. Start it without torchrun; train-visual, "
            "extract-features, train-llm and eval share their work."
        )
    if not corpus_of(run.config).is_drawn or run.config.features.level != "sign":
        raise InputError(
            "demo: only for the avatar corpus with sign-wise features. Use the single commands for others."
        )
    begun = time.monotonic()
    cache = run.features
    clips = _step("corpus", "drawn figures that sign weather reports, as real mp4 files", lambda: ensure_clips(run))
    _step(
        "stage 1",
        "the visual encoder learns to see signs, end to end with a light translator",
        lambda: train_visual(run),
    )
    _step(
        "features",
        "the encoder is frozen now and runs once over every video; from here on no pixel is read",
        lambda: extract(run, [split for split in SPLITS if of_split(clips, split)], cache),
    )
    if run.pretrains_llm:
        _step("pre-training", "the small LLM learns the language from text alone", lambda: pretrain(run, clips))
    _step("stage 2", "the LLM learns to read the cached features", lambda: train_llm(run, cache))
    _step(
        "Light-T baseline",
        "stage 1's Light-T is trained further on the same cache for as many epochs, as a fair baseline",
        lambda: train_baseline(run, cache),
    )
    models = ["visual", "llm", BASELINE.name]
    if full:
        scratch = _without_pretraining(run)
        _step("from scratch", "the same LLM without pre-training", lambda: train_llm(scratch, cache))
        models.insert(2, "llm-from-scratch")
    references = [clip.text for clip in of_split(clips, "test")]
    scores = _step(
        "test",
        "beam search over unseen sentences by unseen signers",
        lambda: {model: _test_scores(run, cache, model, references) for model in models},
    )
    timing = _step(
        "timing", "a stage-2 epoch from the cache against the encoder run again", lambda: _timing(run, cache)
    )
    test = of_split(clips, "test")
    translator = Translator(run)
    samples = tuple((clip.text, translator(clip.video)) for clip in test[:: max(len(test) // SAMPLES, 1)][:SAMPLES])
    done = Demo(scores, len(test), timing, samples, time.monotonic() - begun, run.report)
    try:
        write_report(run)
    except BaseException:
        log(render(done))  # shows an hour's results even without a page
        raise
    load = _load(run).get("under_load")
    return replace(done, seconds=time.monotonic() - begun, load=f"; {load}" if load else "")


def render(demo: Demo) -> str:
    """Returns the final table as text."""
    lines = ["", f"Test set: {demo.clips} unseen sentences, unseen signers (drawn stand-ins, not sign language)", ""]
    widths = {key: max(len(METRICS[key].heading) + 2, 7) for key in IN_SUMMARY}
    lines.append(" " * 48 + "".join(f"{METRICS[key].heading:>{width}}" for key, width in widths.items()))
    for model, scores in demo.scores.items():
        lines.append(f"{label_of(model):<48}" + "".join(f"{scores[key]:{width}.2f}" for key, width in widths.items()))
    cache = demo.cache
    lines += [
        "",
        f"a stage-2 epoch: {cache['epoch_seconds_from_cache']} s from the cache, "
        f"{cache['epoch_seconds_recomputed']} s with the encoder run again ({cache['ratio']} times as long)",
        *([f"  ({cache['under_load']})"] if "under_load" in cache else []),
        "",
        "straight from the video files:",
    ]
    for reference, found in demo.samples:
        lines += [f"  {found.video.name}: {found.text}", f"  {'reference':>{len(found.video.name)}}: {reference}"]
    return "\n".join([*lines, "", f"report: {demo.report}   (took {demo.seconds:.0f} s in all{demo.load})"])


def _step(name: str, why: str, work: Callable[[], Result]) -> Result:
    """Runs a step, logging its purpose and duration."""
    log(f"[{name}] {why}")
    begun = time.monotonic()
    result = work()
    log(f"[{name}] {time.monotonic() - begun:.0f} s")
    return result


def _without_pretraining(run: Run) -> Run:
    llm = run.config.llm.model_copy(update={"pretrained": False})
    return Run(run.folder, run.config.model_copy(update={"llm": llm}))


def _test_scores(run: Run, cache: Path, model: str, references: list[str]) -> dict[str, float]:
    """Returns the scores of a model, from eval/ if its weights were scored before."""
    saved = saved_scores(run, model, "test", references)
    return saved if saved is not None else rounded(evaluate(run, "test", cache, model).scores)


def _load(run: Run) -> dict[str, str]:
    return under_load(run.config.compute.readers)


def _timing(run: Run, cache: Path) -> dict[str, Any]:
    """Times cached against recomputed features, once per weights and device."""
    path = run.folder / "bench-cache.json"
    made_from = {
        "llm": read_object(run.llm / "best" / RECORD_FILE),
        "visual": read_object(run.visual / "best" / RECORD_FILE),
        "device": run.config.compute.device,
    }
    if not path.is_file() or read_object(path).get("made_from") != made_from:
        write_json(path, {"made_from": made_from, "figures": bench_cache(run, cache) | _load(run)})
    timing: dict[str, Any] = read_object(path)["figures"]
    return timing
