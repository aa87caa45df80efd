"""Trainings on a feature cache, which open no video: stage 2 and the Light-T baseline."""

import hashlib
import json
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch

from slt_cache.advice import command
from slt_cache.batches.features import feature_loader, require_positions, require_statistics
from slt_cache.batches.mixture import mixture_of
from slt_cache.batches.sampler import Shard
from slt_cache.checkpoints.record import Record
from slt_cache.checkpoints.translator import load_llm, save_llm, save_llm_record
from slt_cache.config import CROSS_ENTROPY
from slt_cache.corpora.fraction import chosen_ids, fraction_record
from slt_cache.corpora.registry import language_code, require_languages
from slt_cache.decoding.search import decode_cached, truncation_notice
from slt_cache.device import pick_device
from slt_cache.distributed.processes import rank, size
from slt_cache.errors import InputError
from slt_cache.features.cache import FeatureCache
from slt_cache.features.file import CacheFile
from slt_cache.features.spec import IMPORTED, FeatureSpec
from slt_cache.features.streams import CachedSplit, ClipSubset, StreamSplit, listed_ids, whole_of
from slt_cache.models.translators import SignTranslator
from slt_cache.pipeline.feature_spec import asked_spec, open_features
from slt_cache.pipeline.stages import Stage
from slt_cache.pipeline.streams import open_streams
from slt_cache.progress import log, progress_counter
from slt_cache.runs.encoders import take_encoders
from slt_cache.runs.run import Run
from slt_cache.runs.scoring import references_of, rounded, score_hypotheses
from slt_cache.runs.streams import Caches, recorded_paths
from slt_cache.text.tokenizer import Tokenizer
from slt_cache.training.objectives.base import Setup
from slt_cache.training.objectives.model import with_objectives
from slt_cache.training.tasks.llm import FromCacheTask


@dataclass(frozen=True)
class CacheSplits:
    """Splits of a feature cache that a training reads."""

    train: CachedSplit
    dev: CachedSplit | None
    paths: Mapping[str, str] = field(default_factory=dict)
    """Paths of several streams, for the record."""


@dataclass(frozen=True)
class CacheStage(Stage):
    """Training stage on a feature cache. Subclasses define the model."""

    splits: CacheSplits
    tokenizer: Tokenizer

    @abstractmethod
    def make_model(self) -> SignTranslator: ...

    @property
    @abstractmethod
    def lrs(self) -> tuple[float, float]:
        """Peak learning rates of the encoder-decoder and the adapter."""

    @property
    @abstractmethod
    def own_settings(self) -> dict[str, Any]:
        """Settings that determine the weights, besides cache and seed."""

    @property
    def objective(self) -> tuple[tuple[str, ...], Mapping[str, float]]:
        """Terms of the loss, and weights of some."""
        return (CROSS_ENTROPY,), {}

    @cached_property
    def settings(self) -> dict[str, Any]:
        return {**cache_settings(self.run, self.splits.train), **self.own_settings}

    @property
    def named(self) -> dict[str, str]:
        return {**super().named, **self.splits.paths}

    @property
    def evaluate_every(self) -> int:
        return self.run.config.llm_training.evaluate_every

    def keep(self) -> None:
        super().keep()
        train = whole_of(self.splits.train)
        caches = [train] if isinstance(train, FeatureCache) else train.streams.values()
        take_encoders(self.run, {cache.path: cache.spec for cache in caches})

    @cached_property
    def dev_sha256(self) -> str | None:
        """SHA-256 of the cached dev clips, their sentences and video contents."""
        dev = self.splits.dev
        if dev is None:
            return None
        rows = zip(dev.ids, dev.texts, dev.sources, strict=True)
        return hashlib.sha256(repr([dev.attributes["manifest_sha256"], *rows]).encode()).hexdigest()

    def make_task(self, device: torch.device) -> FromCacheTask:
        model = self.make_model()
        require_positions(
            self.splits.train,
            model.positions,
            self.tokenizer,
            model.target_positions,
            model.steps_of(self.splits.train.lengths),
        )
        if model.adapter.normalizes_batches:
            require_statistics(self.splits.train, self.loop.batch_size // size(), model.adapter.stride)
        loader = feature_loader(
            self.splits.train,
            self.tokenizer,
            batch_size=self.loop.batch_size,
            seed=self.run.config.seed,
            shuffle=True,
            by_length=self.run.config.llm_training.length_buckets,
            shard=Shard(rank(), size()),
            mixture=mixture_of(self.splits.train.origins, self.loop.temperature, self.run.config.seed),
            pinned=device.type == "cuda",
        )
        lr, adapter_lr = self.lrs
        return FromCacheTask(
            self.name,
            with_objectives(model, *self.objective, Setup(model.kind.width, self.tokenizer, self.run.config.seed)),
            loader,
            lr=lr,
            adapter_lr=adapter_lr,
            weight_decay=self.loop.weight_decay,
            evaluate=partial(self.evaluate, model),
            save_best=partial(self.save_best, model),
        )

    def evaluate(self, model: SignTranslator) -> dict[str, float]:
        """Scores the model in training on dev; empty without dev."""
        dev, config = self.splits.dev, self.run.config
        if dev is None:
            return {}
        with progress_counter("translating dev", len(dev), 0) as show:
            hypotheses = decode_cached(model, dev, self.tokenizer, config.generation.on_dev, show)
        return rounded(score_hypotheses(config, hypotheses, references_of(config, dev.texts, self.tokenizer)))

    def save_best(self, model: SignTranslator, epoch: int, dev: dict[str, float]) -> None:
        save_llm(self.unfinished.best, model, self.tokenizer, self.record_of(epoch, dev))

    def score(self, best: Path, beams: int) -> dict[str, float]:
        """Scores saved weights on dev, and logs which clips they do not read to the end."""
        dev, config = self.splits.dev, self.run.config
        assert dev is not None
        saved = load_llm(best)
        model = saved.model.to(pick_device(config.compute.device))
        generation = config.generation.model_copy(update={"num_beams": beams})
        with progress_counter("translating dev", len(dev), 0) as show:
            hypotheses = decode_cached(model, dev, saved.tokenizer, generation, show)
        notice = truncation_notice(hypotheses, model.positions)
        if notice is not None:
            log(notice)
        return rounded(score_hypotheses(config, hypotheses, references_of(config, dev.texts, saved.tokenizer)))

    def save_record(self, folder: Path, record: Record) -> None:
        save_llm_record(folder, record)


def cache_settings(run: Run, train_split: CachedSplit) -> dict[str, Any]:
    """Returns the settings that determine the weights of any model trained on the cache."""
    whole = whole_of(train_split)
    streams = {} if isinstance(whole, FeatureCache) else {"streams": _of_streams(whole)}
    return {
        "seed": run.config.seed,
        "features": train_split.spec.to_json(),
        **streams,
        "clips": len(train_split),
        "clips_sha256": train_split.clips_sha256,
        "language": language_code(run.config),
        **fraction_record(run.config.of_stage_2.corpus.fraction),
    }


def _of_streams(split: StreamSplit) -> dict[str, Any]:
    """Returns what determines the features of each stream, with its place, since the order of a record's keys does not
    count."""
    return {
        name: {"place": place, "features": json.loads(one.spec.to_json()), "clips_sha256": one.clips_sha256}
        for place, (name, one) in enumerate(split.streams.items())
    }


def open_splits(run: Run, cache: Caches) -> CacheSplits:
    """Opens train and dev, logging missing clips or splits. Raises InputError if features or clips differ from those of
    the run's encoder and manifest."""
    if isinstance(cache, Mapping):
        files = {name: CacheFile(path) for name, path in cache.items()}
        open_split: Callable[[str], CachedSplit] = partial(open_streams, run, files)
    else:
        files = {"": CacheFile(cache)}
        open_split = _opener(run, files[""])
    train_split = used_part(run, open_split("train"))
    without_dev = [file.path for file in files.values() if "dev" not in file.splits]
    for path in without_dev:
        how = run.command("extract-features --split dev", features=path)
        if FeatureCache(path, "train").is_imported:
            how = f"lines of dev in the table, and {command('cache import DIR', out=path)}"
        log(f"{path} holds no dev split: the last weights will be kept, not the best. Add it: {how}")
    dev_split = None if without_dev else open_split("dev")
    for split in (train_split, dev_split):
        if split is not None and not len(split):
            raise InputError(f"{split.path}: the split {split.split} is empty. Extract again from readable videos.")
        if split is not None:
            languages = [origin.language for origin in split.origins]
            require_languages(run.config, languages, f"{split.path} ({split.split})")
    return CacheSplits(train_split, dev_split, recorded_paths(cache))


def used_part(run: Run, train_split: CachedSplit) -> CachedSplit:
    """Returns the clips of train that stage 2 uses (corpus.fraction)."""
    fraction, whole = run.config.of_stage_2.corpus.fraction, whole_of(train_split)
    return train_split if fraction == 1 else ClipSubset(whole, chosen_ids(listed_ids(whole), fraction, run.config.seed))


def _opener(run: Run, file: CacheFile) -> Callable[[str], FeatureCache]:
    """Returns a function that opens a split of the run's only cache. Raises InputError for imported features that the
    settings do not ask for."""
    asked, cache = asked_spec(run), file.path
    if run.config.features.level != IMPORTED and FeatureCache(file, "train").spec.level == IMPORTED:
        raise InputError(
            f"{cache} holds imported features, but features.level is {run.config.features.level}. "
            f"Add --set features.level={IMPORTED}, or use the cache of the run's own encoder."
        )
    return partial(_open_one, run, file, asked)


def _open_one(run: Run, file: CacheFile, asked: FeatureSpec | Mapping[str, Any], split: str) -> FeatureCache:
    return open_features(run, file, split, asked)
