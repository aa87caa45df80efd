"""Times an update of stage 2: from the cache, with the frozen encoder run again over the videos, and with the bare LLM
on tensors in memory.

All three alternate in one process. Steps from the cache and from video go through the loop of `train-llm` itself, so
whatever is added to it is measured, too."""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch.utils.data import DataLoader
from transformers import PreTrainedModel

from slt_cache.batches.features import FeatureBatch, feature_loader
from slt_cache.batches.sampler import EpochOrder, padding_fraction
from slt_cache.bench.measure import (
    RUN,
    VOCABULARY,
    BenchShape,
    MeasuredTask,
    Pass,
    bare_step,
    make_translator,
    one_pass,
    ratios,
    run_loop,
    shape_named,
    with_lora,
)
from slt_cache.bench.memory import peak_of
from slt_cache.bench.recompute import Videos, videos_of
from slt_cache.checkpoints.record import read_record
from slt_cache.checkpoints.translator import LlmCheckpoint, load_llm
from slt_cache.config import Config
from slt_cache.device import pick_device
from slt_cache.errors import InputError
from slt_cache.features.spec import FeatureSpec
from slt_cache.features.streams import CachedSplit
from slt_cache.models.llm.load import load_seq2seq
from slt_cache.pipeline.evaluate import cached_streams
from slt_cache.pipeline.feature_spec import open_features
from slt_cache.progress import log
from slt_cache.runs.run import Run
from slt_cache.runs.variants import LLM
from slt_cache.text.tokenizer import Tokenizer

ROUNDS = 3
"""Interleaved repetitions; the median is reported."""
ROUND_SECONDS = 5.0
"""A round repeats the batches from the cache until the bare LLM has taken this long: otherwise a slow moment, or CPU
caches that the encoder left cold, would dominate what a small LLM over few clips takes."""


@dataclass(frozen=True)
class _Round:
    passes: list[Pass]
    recomputed: float
    """Seconds of the updates with the encoder run again."""
    encoder: float
    """Seconds of the encoder alone."""


def bench_llm(
    run: Run, cache: Path | None, shape: str = RUN, batches: int | None = None, briefly: bool = False
) -> dict[str, Any]:
    """Measures the run's LLM, or one of another shape in its place, over the first `batches` of a training epoch. The
    `cache` defaults to the run's own, or to those that a model of several streams was trained from. Seconds are medians
    over all rounds or passes; `briefly` limits a round to one pass.

    For another shape, the peak memory of a training comes with them and, unless `briefly`, the time of a step on a
    made-up batch; these alone, if nothing of the run is asked for and its stage 2 is not trained yet.

    Raises InputError if stage 2 is not trained yet otherwise, if there are no clips to time, or for an unknown
    shape."""
    config = run.config
    other = None if shape == RUN else shape_named(shape)
    device = pick_device(config.compute.device, config.compute.precision)
    if other is not None:
        config = with_lora(config, config.llm.lora or other.lora)
        if cache is None and batches is None and read_record(run.llm / "best") is None:
            log(f"{run.llm / 'best'}: not trained; only a made-up batch is timed")
            about = {"lora": config.llm.lora is not None, "device": str(device)}
            return {"llm": shape, **peak_of(other, config, timed=True), **about}
        batches = batches or other.batches
    trained = load_llm(run.llm / "best")
    features = _train_split(run, cache, trained)
    loader = _loader(config, features, trained.tokenizer)
    chosen = _ids_of(loader, features, batches)
    if not chosen:
        raise InputError(f"{features.path} (train): there are no clips to time.")
    videos = videos_of(run, trained, chosen, device)
    peaks = {} if other is None else peak_of(other, config, timed=not briefly)
    model = make_translator(config, features.dim, _llm(run, trained.tokenizer, other), trained.tokenizer.start)
    log(f"timing {len(chosen)} of {len(loader)} batches on {device}, in {ROUNDS} rounds")
    rounds: list[_Round] = []

    def measure(task: MeasuredTask) -> Iterator[FeatureBatch]:
        for _ in range(ROUNDS + 1):
            taken = yield from _one_round(task, config, device, len(chosen), videos, 0.0 if briefly else ROUND_SECONDS)
            rounds.append(taken)

    run_loop(MeasuredTask(config, model, loader, measure, len(chosen)), config.llm_training, config, device)
    return {
        "llm": shape,
        **peaks,
        "parameters": sum(weight.numel() for weight in model.seq2seq.parameters()),
        "lora": config.llm.lora is not None,
        **_values(rounds[1:], with_videos=videos is not None),  # the first round warms up
        **_padding(config, features),
        "batch_size": config.llm_training.batch_size,
        "batches_timed": len(chosen),
        "batches_an_epoch": len(loader),
        "rounds": ROUNDS,
        "passes": sum(len(one.passes) for one in rounds[1:]),
        "device": str(device),
    }


def _train_split(run: Run, cache: Path | None, trained: LlmCheckpoint) -> CachedSplit:
    """Returns the train split of the cache, or of those of all streams. Raises InputError if a stream has none."""
    specs = trained.specs
    if isinstance(specs, FeatureSpec):
        return open_features(run, cache or run.features, "train", specs)
    if cache is not None:
        raise InputError(f"--features {cache}: {run.llm} reads the streams {', '.join(specs)}. Omit the option.")
    found = cached_streams(run, "train", None, specs, LLM.name)
    if found is None:
        raise InputError(f"{run.llm}: the cache of a stream holds no train split. Extract it again.")
    return found


def _loader(config: Config, features: CachedSplit, tokenizer: Tokenizer) -> DataLoader[Any]:
    """Returns the loader that `train-llm` would use."""
    training = config.llm_training
    return feature_loader(
        features,
        tokenizer,
        batch_size=training.batch_size,
        seed=config.seed,
        shuffle=True,
        by_length=training.length_buckets,
    )


def _ids_of(loader: DataLoader[Any], features: CachedSplit, batches: int | None) -> list[list[str]]:
    """Returns the clip ids of each measured batch."""
    order = loader.batch_sampler
    assert isinstance(order, EpochOrder)
    order.epoch = 1
    return [[features.ids[index] for _, index in batch] for batch in islice(order, batches)]


def _llm(run: Run, tokenizer: Tokenizer, other: BenchShape | None) -> PreTrainedModel:
    if other is None:
        dtype = getattr(torch, run.config.llm.dtype)
        return load_seq2seq(str(run.llm / "best"), dropout=run.config.llm_training.dropout, dtype=dtype)
    return other.make(max(VOCABULARY, len(tokenizer)))


def _one_round(
    task: MeasuredTask, config: Config, device: torch.device, batches: int, videos: Videos | None, seconds: float
) -> Generator[FeatureBatch, None, _Round]:
    batch = next(task.of_the_loader()).to(device)

    def settle() -> None:
        bare_step(task, config, device, batch, adapter=True)

    settle()  # the last round's readers were forks, too
    passes: list[Pass] = []
    while not passes or sum(one.bare for one in passes) < seconds:
        taken = yield from one_pass(task, config, device, task.of_the_loader(), batches)
        passes.append(taken)
    recomputed = encoder = 0.0
    if videos is not None:
        recomputed = yield from videos.updates(settle)
        encoder = videos.alone()
    return _Round(passes, recomputed, encoder)


def _values(rounds: Sequence[_Round], with_videos: bool) -> dict[str, Any]:
    passes = [one for a_round in rounds for one in a_round.passes]
    cached, bare = median(one.cached for one in passes), median(one.bare for one in passes)
    values: dict[str, Any] = {
        "seconds_from_cache": round(cached, 3),
        "seconds_bare_llm": round(bare, 3),
        **ratios(passes),
    }
    if with_videos:
        recomputed = median(one.recomputed for one in rounds)
        encoder = median(one.encoder for one in rounds)
        allowed = (encoder + bare) / bare
        values |= {
            "seconds_recomputed": round(recomputed, 3),
            "seconds_encoder_alone": round(encoder, 3),
            "ratio": round(recomputed / cached, 3),
            "ratio_allowed": round(allowed, 3),
            "ratio_reached": round(recomputed / cached / allowed, 4),
        }
    return values


def _padding(config: Config, features: CachedSplit) -> dict[str, float]:
    """Returns the share of padding among an epoch's positions, with and without buckets of similar length."""
    lengths, size = features.steps, config.llm_training.batch_size
    orders = {
        "padding_in_buckets": EpochOrder(len(features), size, config.seed, True, lengths),
        "padding_shuffled": EpochOrder(len(features), size, config.seed, True),
    }
    return {
        name: round(padding_fraction(lengths, [[index for _, index in batch] for batch in order]), 4)
        for name, order in orders.items()
    }
