"""Estimates before a training starts: clips, steps, hours, memory and disk. Trains, draws and writes nothing.

Times and activations are measured on this device with random numbers, as for the plan of `reproduce`."""

import math
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from slt_cache.checkpoints.record import read_record
from slt_cache.checkpoints.visual import new_encoder, with_backbone
from slt_cache.config import Config, OptimizerConfig
from slt_cache.corpora.base import of_split
from slt_cache.corpora.manifest import read_manifest
from slt_cache.device import pick_device, under_load
from slt_cache.encoders.names import BUILT_IN
from slt_cache.errors import InputError
from slt_cache.estimates.rates import DeviceRates, seconds_of, translator_of
from slt_cache.estimates.workload import Amount, Workload, workload_of
from slt_cache.features.cache import open_splits
from slt_cache.features.spec import IMPORTED
from slt_cache.features.streams import CachedSplit, StreamSplit
from slt_cache.models.adapter import fused_steps
from slt_cache.models.llm.quantize import require_quantization
from slt_cache.models.saved import ABOUT_FILE, read_about
from slt_cache.pipeline.feature_spec import asked_spec
from slt_cache.pipeline.init_encoder import initial_encoder
from slt_cache.pipeline.init_llm import find, initial_translator
from slt_cache.pipeline.longer import saved_training
from slt_cache.pipeline.open_frame_cache import GIGABYTE, cache_bytes
from slt_cache.pipeline.visual_training import memory_needed
from slt_cache.progress import size_text
from slt_cache.runs.llm_folders import require_at_hand
from slt_cache.runs.run import Run
from slt_cache.runs.scoring import preset_of
from slt_cache.runs.streams import Caches, as_named
from slt_cache.runs.unfinished import BEST, Unfinished
from slt_cache.runs.variants import LLM, PRETRAINING, VISUAL, Variant, trained_by
from slt_cache.text.families import is_made_here
from slt_cache.training.progress_bar import duration

FLOAT = 4
"""Bytes of a float32."""
WEIGHTS = {"float32": 1.0, "bfloat16": 0.5, "8bit": 0.25, "4bit": 0.125}
"""Size of a frozen weight, in float32s."""
NEW = "new"
WHOLE_VOCABULARY, TRIMMED_VOCABULARY = 250_000, 2_500
"""Approximate vocabulary of a multilingual LLM, and of one trimmed to a corpus."""
HIDDEN = 1024
"""Width of MBart-large."""
HOW = (
    "measured on this device with random numbers, per layer for a large LLM, and extrapolated; excludes decoding of "
    "videos, which runs in parallel. Accurate within a factor of two"
)


@dataclass(frozen=True)
class DryRun:
    """Estimate of a training."""

    name: str
    folder: Path
    state: str
    """State of the training: new, unfinished, finished or continued."""
    device: str
    clips: dict[str, int]
    source: str
    """Source of the counts."""
    batches_an_epoch: int
    steps_an_epoch: int
    """Optimizer steps per epoch."""
    epochs: int
    seconds: float
    memory_bytes: int
    disk_bytes: int
    free_bytes: int
    begins: tuple[str, ...] = ()
    """Lines that say what is taken from other runs."""
    load: str = ""
    """Note that the machine was busy during the measurement."""

    @property
    def steps(self) -> int:
        return self.steps_an_epoch * self.epochs

    def to_json(self) -> dict[str, Any]:
        return {
            "stage": self.name,
            "folder": str(self.folder),
            "state": self.state,
            "device": self.device,
            "clips": self.clips,
            "counted": self.source,
            "batches_per_epoch": self.batches_an_epoch,
            "steps_per_epoch": self.steps_an_epoch,
            "epochs": self.epochs,
            "steps": self.steps,
            "hours": round(self.seconds / 3600, 4),
            "memory_gigabytes": round(self.memory_bytes / GIGABYTE, 3),
            "disk_gigabytes": round(self.disk_bytes / GIGABYTE, 3),
            "free_gigabytes": round(self.free_bytes / GIGABYTE, 3),
            "how": HOW,
            **({"begins": self.begins} if self.begins else {}),
            **({"under_load": self.load} if self.load else {}),
        }

    def text(self) -> str:
        """Returns the estimate as text, one value per line."""
        clips = ", ".join(f"{count:,} {split}" for split, count in self.clips.items())
        room = "" if self.disk_bytes < self.free_bytes else "; MAKE ROOM"
        return "\n".join(
            [
                f"{self.name} -> {self.folder} ({self.state}); nothing is trained or written",
                f"  clips   {clips} ({self.source})",
                f"  steps   {self.steps_an_epoch:,} per epoch, at most {self.steps:,} in {self.epochs:,} epochs",
                f"  time    about {duration(self.seconds)} ({self.seconds / 3600:.2g} hours) on {self.device}",
                f"  memory  about {size_text(self.memory_bytes)} per step, in addition to the program itself",
                f"  disk    about {size_text(self.disk_bytes)} ({size_text(self.free_bytes)} are free{room})",
                f"  how     {HOW}",
                *(f"  begins  {line}" for line in self.begins),
                *([f"  busy    {self.load}"] if self.load else []),
            ]
        )


def dry_run(run: Run, command: str, cache: Caches | None = None) -> DryRun:
    """Estimates `train-visual`, `train-llm`, `train-joint` or `llm pretrain` with these settings. Raises InputError if
    there is nothing to train on, or the device, the LLM, or what llm.quantize requires, is unavailable."""
    if command != "llm pretrain":
        preset_of(run.config)
    variant = trained_by(command, run.config)
    if variant.llm and variant is not PRETRAINING:
        compute = run.config.compute
        require_quantization(run.config.llm.quantize, pick_device(compute.device, compute.precision))
    require_at_hand(run)
    _ = asked_spec(run) if variant.from_cache and run.config.encoder.name is not None else None  # refuses unknown ones
    loop, pretrains = _loop(run.config, variant), variant is PRETRAINING
    workload = _workload(run, variant, cache).used_by(run.config, stage_2=variant.llm)
    if not workload.splits["train"].clips:
        raise InputError(f"{run.manifest}: no clips of split 'train'. Add some, or choose another corpus.")
    folder = run.folder / variant.name
    epochs, state = loop.epochs, _state(folder)
    if run.longer:
        shorter = saved_training(folder, run.command(variant.command))
        shorter.require_more(_section(variant), loop, _evaluate_every(loop), run.command(variant.command))
        epochs = loop.epochs - shorter.progress.epoch
        state = f"continued after epoch {shorter.progress.epoch}"
    begins = _begins(run, variant, cache) if state == NEW else ()
    run = replace(run, config=_as_named(run.config))
    rates = DeviceRates(run.config, workload)
    seconds = 0.0 if pretrains else seconds_of("train", variant.name, run.config, workload, rates)
    if pretrains or (variant.pretrained and run.config.llm.init_from is None and _lacks_pretraining(run)):
        seconds += seconds_of("pretrain", LLM.name, run.config, workload, rates)
    items = workload.sentences if pretrains else workload.splits["train"].clips
    batches = math.ceil(items / loop.batch_size)
    parameters, trained, memory = memory_of(run, variant, workload, rates)
    return DryRun(
        name=variant.stage,
        folder=folder,
        state=state,
        device=str(rates.device),
        clips={"sentences": workload.sentences}
        if pretrains
        else {split: amount.clips for split, amount in workload.splits.items()},
        source=workload.source,
        batches_an_epoch=batches,
        steps_an_epoch=math.ceil(batches / loop.accumulate),
        epochs=epochs,
        seconds=seconds * epochs / loop.epochs,
        memory_bytes=memory,
        disk_bytes=_disk(run, variant, parameters, trained),
        free_bytes=shutil.disk_usage(_existing(run.folder)).free,
        begins=begins,
        load=under_load().get("under_load", ""),
    )


def _section(variant: Variant) -> str:
    return {VISUAL: "visual_training", PRETRAINING: "llm_pretraining"}.get(variant, "llm_training")


def _loop(config: Config, variant: Variant) -> OptimizerConfig:
    loop: OptimizerConfig = getattr(config, _section(variant))
    return loop


def _evaluate_every(loop: OptimizerConfig) -> int:
    return getattr(loop, "evaluate_every", loop.epochs)  # pre-training has no dev split


def _workload(run: Run, variant: Variant, cache: Caches | None) -> Workload:
    """Counts the clips in the cache of stage 2 if it exists, else those of the corpus."""
    cached = _held(variant, cache)
    if not cached:
        if run.config.features.level == IMPORTED:
            raise InputError(f"{cache}: no such feature cache. Import it first, or name it with --features.")
        return workload_of(run, [run.manifest])
    every, fusion = run.config.video.keep_every, run.config.llm_training.stream_fusion
    steps = {split: int(fused_steps(one.lengths, 1, fusion).sum()) / one.views for split, one in cached.items()}
    splits = {split: Amount(len(one), steps[split] * every) for split, one in cached.items()}
    words = [len(text.split()) for text in cached["train"].texts]
    tokens = 1.5 * sum(words) / max(1, len(words))
    return Workload(splits, tokens, len(words), f"as in {', '.join(map(str, as_named(cache).values()))}")


def _held(variant: Variant, cache: Caches | None) -> Mapping[str, CachedSplit]:
    """Returns the splits of the cache, or of all streams, that a training reads; none if it does not exist. Raises
    InputError if it lacks train."""
    if not variant.from_cache or cache is None or (isinstance(cache, Path) and not cache.exists()):
        return {}
    opened = {name: open_splits(path) for name, path in as_named(cache).items()}
    for name, path in as_named(cache).items():
        if "train" not in opened[name]:
            raise InputError(f"{path}: holds no split 'train'.")
    first, *others = opened.values()
    if not others:
        return first
    shared = [split for split in first if all(split in other for other in others)]
    return {split: StreamSplit({name: splits[split] for name, splits in opened.items()}) for split in shared}


def _lacks_pretraining(run: Run) -> bool:
    return run.pretrains_llm and not run.is_made("pretrained")


def _state(folder: Path) -> str:
    best = read_record(folder / BEST)
    if Unfinished(folder).record is not None:
        return "unfinished, would be resumed if the settings are the same"
    return "finished; --restart trains again" if best is not None and best.finished else NEW


def _begins(run: Run, variant: Variant, cache: Caches | None) -> tuple[str, ...]:
    """Returns lines that say what a new training takes from other runs. Raises InputError if it does not fit."""
    config, lines = run.config, []
    if variant.trains_encoder == "all" and not variant.after_stage_1:
        light_t = config.light_t if variant is VISUAL else None
        encoder = initial_encoder(config.encoder, light_t, None)
        lines += [] if encoder is None else [encoder.summary]
        if config.encoder.first_weights not in BUILT_IN:
            with_backbone(new_encoder(config.encoder, config.video), config.encoder.first_weights)
    if variant.llm and variant is not PRETRAINING and config.llm.init_from is not None:
        held = _held(variant, cache)
        dim, streams = (held["train"].dim if held else config.encoder.dim), list(as_named(cache)) if held else []
        streams = streams if len(streams) > 1 else []
        lines.append(initial_translator(config, find(config.llm.init_from), dim, streams).summary)
    return tuple(lines)


def _as_named(config: Config) -> Config:
    """The settings with the LLM that `init_from` was fine-tuned from, which is of the same size."""
    llm = config.llm
    if llm.init_from is None or not (Path(llm.init_from) / ABOUT_FILE).is_file():
        return config
    name = read_about(Path(llm.init_from)).llm
    return config.model_copy(update={"llm": llm.model_copy(update={"name": name})})


def memory_of(run: Run, variant: Variant, workload: Workload, rates: DeviceRates) -> tuple[int, int, int]:
    """Returns the number of parameters of a training, all and trained, and the bytes at the peak of a step over clips
    of average length."""
    config = run.config
    loop = _loop(config, variant)
    name, lora, terms = translator_of(config, variant, variant is PRETRAINING)
    translator = rates.translator(name, lora, terms)
    parameters, trained = translator.parameters, translator.trained
    if variant.llm and not is_made_here(config.llm.name) and not config.llm.trim:
        words = (WHOLE_VOCABULARY - TRIMMED_VOCABULARY) * HIDDEN
        parameters, trained = parameters + words, trained + (words if lora is None else 0)
    activations = translator.saved_bytes * loop.batch_size
    if config.compute.precision != "fp32":
        activations /= 2
    if variant.trains_encoder == "none":
        smaller = WEIGHTS[config.llm.quantize or config.llm.dtype] if variant is not PRETRAINING else 1
        copies = (4 + (loop.ema > 0)) * trained + smaller * (parameters - trained)  # weights, gradients, AdamW's two
        return parameters, trained, round(FLOAT * copies + activations)
    train = workload.splits["train"]
    frames = loop.batch_size * math.ceil(train.frames / train.clips / config.video.keep_every)
    encoder = sum(weight.numel() for weight in new_encoder(config.encoder, config.video).parameters())
    adam = variant is not VISUAL or config.visual_training.optimizer == "adamw"
    step = memory_needed(trained + encoder, config, frames, adam, loop.ema > 0) + FLOAT * (parameters - trained)
    return parameters + encoder, trained + encoder, round(step + activations)


def _disk(run: Run, variant: Variant, parameters: int, trained: int) -> int:
    """Returns the bytes on disk of the best weights, the state of the unfinished training with its optimizer and best
    weights, in which frozen weights are links, and the frame cache if used."""
    kept = len(run.config.visual_training.keep_epochs) if variant is VISUAL else 0
    averages = _loop(run.config, variant).ema > 0
    weights = FLOAT * (parameters - trained + trained * (1 + 1 + 3 + averages + kept))
    frames = 0
    if variant.trains_encoder != "none" and run.config.video.frame_cache and run.manifest.is_file():
        frames = cache_bytes(of_split(read_manifest(run.manifest), "train"), run.config, run.folder)
    return weights + frames


def _existing(folder: Path) -> Path:
    return next(one for one in (folder.absolute(), *folder.absolute().parents) if one.is_dir())
