"""What a training will take before it starts: clips, steps, hours, memory and disk. Trains, draws and writes nothing.

Times and activations are measured on this device with random numbers, as for the plan of `reproduce`."""

import math
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slt_cache.checkpoints.record import read_record
from slt_cache.checkpoints.visual import new_encoder
from slt_cache.config import OptimizerConfig
from slt_cache.corpora.base import of_split
from slt_cache.corpora.manifest import read_manifest
from slt_cache.encoders.memory_estimate import step_bytes
from slt_cache.errors import InputError
from slt_cache.features.cache import open_splits
from slt_cache.features.spec import IMPORTED
from slt_cache.machine_load import under_load
from slt_cache.pipeline.open_frame_cache import GIGABYTE, cache_bytes
from slt_cache.pipeline.rates import DeviceRates, seconds_of
from slt_cache.pipeline.workload import Amount, Workload, workload_of
from slt_cache.runs.run import Run
from slt_cache.runs.scoring import preset_of
from slt_cache.runs.unfinished import BEST, Unfinished
from slt_cache.text.families import small_family
from slt_cache.training.progress_bar import duration

FLOAT = 4
"""Bytes."""
WHOLE_VOCABULARY, TRIMMED_VOCABULARY = 250_000, 2_500
"""Pieces, about, of a multilingual LLM, and of one that was trimmed to a corpus."""
HIDDEN = 1024
"""Width of MBart-large."""
HOW = (
    "measured on this device with random numbers, layer by layer for a large LLM, and multiplied; without the time to "
    "decode videos, which other processes do meanwhile. Good to a factor of two"
)


@dataclass(frozen=True)
class DryRun:
    """What a training will take."""

    name: str
    folder: Path
    state: str
    """new, unfinished or finished."""
    device: str
    clips: dict[str, int]
    source: str
    """Where they were counted."""
    batches_an_epoch: int
    steps_an_epoch: int
    """Updates of the weights."""
    epochs: int
    seconds: float
    memory_bytes: int
    disk_bytes: int
    free_bytes: int
    load: str = ""
    """Says that the machine was busy when the times were measured."""

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
            **({"under_load": self.load} if self.load else {}),
        }

    def text(self) -> str:
        """Returns the figures, one a line."""
        clips = ", ".join(f"{count:,} {split}" for split, count in self.clips.items())
        room = "" if self.disk_bytes < self.free_bytes else "; MAKE ROOM"
        return "\n".join(
            [
                f"{self.name} -> {self.folder} ({self.state}); nothing is trained or written",
                f"  clips   {clips} ({self.source})",
                f"  steps   {self.steps_an_epoch:,} an epoch, {self.steps:,} in {self.epochs:,} epochs at most",
                f"  time    about {duration(self.seconds)} ({self.seconds / 3600:.2g} hours) on {self.device}",
                f"  memory  about {_amount(self.memory_bytes)} for a step, besides that of the program itself",
                f"  disk    about {_amount(self.disk_bytes)} ({_amount(self.free_bytes)} are free{room})",
                f"  how     {HOW}",
                *([f"  busy    {self.load}"] if self.load else []),
            ]
        )


@dataclass(frozen=True)
class _Training:
    """One of the trainings, as pipeline/rates.py names it."""

    name: str
    folder: Path
    action: str
    model: str
    loop: OptimizerConfig
    pixels: bool
    """Whether it trains from pixels."""


def dry_run(run: Run, command: str, cache: Path | None = None) -> DryRun:
    """Returns what `train-visual`, `train-llm`, `train-joint` or `llm pretrain` would take with these settings. Raises
    InputError if there is nothing to train on, or if the device is not there."""
    if command != "llm pretrain":
        preset_of(run.config)
    training = _training_of(run, command)
    workload = _workload(run, training, cache)
    if not workload.splits["train"].clips:
        raise InputError(f"{run.manifest}: no clips of split 'train'. Add some, or choose another corpus.")
    rates = DeviceRates(run.config, workload)
    seconds = seconds_of(training.action, training.model, run.config, workload, rates)
    if command in ("train-llm", "train-joint") and _pretrains(run):
        seconds += seconds_of("pretrain", "llm", run.config, workload, rates)
    items = workload.sentences if training.action == "pretrain" else workload.splits["train"].clips
    batches = math.ceil(items / training.loop.batch_size)
    parameters, memory = _memory(run, training, workload, rates)
    return DryRun(
        name=training.name,
        folder=training.folder,
        state=_state(training.folder),
        device=str(rates.device),
        clips={"sentences": workload.sentences}
        if training.action == "pretrain"
        else {split: amount.clips for split, amount in workload.splits.items()},
        source=workload.source,
        batches_an_epoch=batches,
        steps_an_epoch=math.ceil(batches / training.loop.accumulate),
        epochs=training.loop.epochs,
        seconds=seconds,
        memory_bytes=memory,
        disk_bytes=_disk(run, training, parameters),
        free_bytes=shutil.disk_usage(_existing(run.folder)).free,
        load=under_load().get("under_load", ""),
    )


def _training_of(run: Run, command: str) -> _Training:
    config = run.config
    if command == "train-visual":
        return _Training("stage 1", run.visual, "visual", "visual", config.visual_training, True)
    if command == "llm pretrain":
        return _Training("pre-training", run.pretrained, "pretrain", "llm", config.llm_pretraining, False)
    if command == "train-joint":
        return _Training(run.joint.name, run.joint, "train", run.joint.name, config.llm_training, True)
    if config.llm_training.unfreeze != "none":
        return _Training(run.unfrozen.name, run.unfrozen, "train", run.unfrozen.name, config.llm_training, True)
    folder = run.llm if config.llm.pretrained else run.scratch
    return _Training("stage 2", folder, "train", folder.name, config.llm_training, False)


def _workload(run: Run, training: _Training, cache: Path | None) -> Workload:
    """Of stage 2 the clips in its cache, if that is there."""
    if training.pixels or training.action == "pretrain" or cache is None or not cache.is_file():
        if run.config.features.level == IMPORTED:
            raise InputError(f"{cache}: there is no such feature cache. Import it first, or name it with --features.")
        return workload_of(run, [run.manifest])
    held = open_splits(cache)
    if "train" not in held:
        raise InputError(f"{cache}: holds no split 'train'.")
    every = run.config.video.keep_every
    splits = {split: Amount(len(one), int(one.offsets[-1]) / one.views * every) for split, one in held.items()}
    words = [len(text.split()) for text in held["train"].texts]
    tokens = 1.5 * sum(words) / max(1, len(words))
    return Workload(splits, tokens, len(words), f"as in {cache}")


def _pretrains(run: Run) -> bool:
    llm = run.config.llm
    return small_family(llm.name) is not None and llm.pretrained and not run.is_made("pretrained")


def _state(folder: Path) -> str:
    best = read_record(folder / BEST)
    if Unfinished(folder).record is not None:
        return "unfinished, would be resumed if the settings are the same"
    return "finished; --restart trains again" if best is not None and best.finished else "new"


def _memory(run: Run, training: _Training, workload: Workload, rates: DeviceRates) -> tuple[int, int]:
    """Numbers that are trained, and bytes at the peak of an update over clips of middling length."""
    config = run.config
    of_light_t = training.action == "visual"
    translator = rates.translator(config.light_t.size if of_light_t else config.llm.name)
    parameters = translator.parameters
    if not of_light_t and small_family(config.llm.name) is None and not config.llm.trim:
        parameters = parameters + (WHOLE_VOCABULARY - TRIMMED_VOCABULARY) * HIDDEN
    activations = translator.saved_bytes * training.loop.batch_size
    if config.compute.precision != "fp32":
        activations /= 2
    if not training.pixels:
        copies = (
            2 if config.llm.lora is not None and training.action == "train" else 4
        )  # weights, gradients, AdamW's two
        return parameters, round(parameters * FLOAT * copies + activations)
    train = workload.splits["train"]
    frames = training.loop.batch_size * math.ceil(train.frames / train.clips / config.video.keep_every)
    encoder = sum(weight.numel() for weight in new_encoder(config.encoder, config.video).parameters())
    sgd = of_light_t and config.visual_training.optimizer == "sgd"
    step = step_bytes(
        config.encoder.backbone,
        frames,
        config.video.size,
        parameters + encoder,
        half=config.compute.precision != "fp32",
        checkpointing=config.encoder.checkpointing,
        chunk_frames=config.encoder.chunk_frames,
        moments=1 if sgd else 2,
    )
    return parameters + encoder, round(step + activations)


def _disk(run: Run, training: _Training, parameters: int) -> int:
    """The best weights, and the state of the unfinished training with its optimizer and its own best weights; and
    the cache of frames, if it is on."""
    kept = len(run.config.visual_training.keep_epochs) if training.action == "visual" else 0
    weights = parameters * FLOAT * (1 + 1 + 3 + kept)
    frames = 0
    if training.pixels and run.config.video.frame_cache and run.manifest.is_file():
        frames = cache_bytes(of_split(read_manifest(run.manifest), "train"), run.config)
    return weights + frames


def _existing(folder: Path) -> Path:
    return next(one for one in (folder.absolute(), *folder.absolute().parents) if one.is_dir())


def _amount(size: float) -> str:
    return f"{size / GIGABYTE:.1f} GB" if size >= 0.1 * GIGABYTE else f"{size / 1e6:.0f} MB"
