"""Setup of trainings on pixels on their device: passes of the backbone, and a memory check before hours are spent."""

import math
from collections.abc import Sequence
from typing import Any

import torch

from slt_cache.config import Config, LlmTrainingConfig, VisualTrainingConfig
from slt_cache.corpora.base import Clip
from slt_cache.distributed.processes import size
from slt_cache.encoders.memory_estimate import step_bytes
from slt_cache.models.translators import VisualTranslator
from slt_cache.pipeline.open_frame_cache import GIGABYTE, lengths_of
from slt_cache.progress import log


def with_passes(model: VisualTranslator, config: Config) -> VisualTranslator:
    """Returns the model with its backbone set to train as the settings say. Compilation takes place at the first
    batches."""
    encoder = model.encoder
    encoder.checkpointing, encoder.chunk_frames = config.encoder.checkpointing, config.encoder.chunk_frames
    if config.compute.compile:
        encoder.backbone.compile()  # in place: names, saving and copies stay those of the bare module
    return model


def memory_needed(parameters: int, config: Config, frames: int, adam: bool, averaged: bool = False) -> int:
    """Returns the bytes of an optimizer step over this many kept frames (encoders/memory_estimate.py); `averaged` if
    there is an average of the weights."""
    return step_bytes(
        config.encoder.backbone,
        frames,
        config.video.size,
        parameters,
        half=config.compute.precision != "fp32",
        checkpointing=config.encoder.checkpointing,
        chunk_frames=config.encoder.chunk_frames,
        moments=(2 if adam else 1) + averaged,
    )


def warn_of_memory(
    model: VisualTranslator,
    config: Config,
    loop: VisualTrainingConfig | LlmTrainingConfig,
    clips: Sequence[Clip],
    device: torch.device,
    heads: Sequence[torch.Tensor] = (),
) -> None:
    """Logs a warning if a batch of clips as long as the longest sampled one is not expected to fit the GPU. `heads` are
    weights of the terms of the loss."""
    lengths = lengths_of(clips, config.video) if device.type == "cuda" else []
    if not lengths or not any(weight.requires_grad for weight in model.encoder.backbone.parameters()):
        return
    frames = math.ceil(loop.batch_size / size()) * math.ceil(max(lengths) / config.video.keep_every)
    parameters = sum(weight.numel() for weight in (*model.parameters(), *heads))
    needed = memory_needed(parameters, config, frames, adam=_uses_adam(loop), averaged=loop.ema > 0)
    free, _ = torch.cuda.mem_get_info(device)
    if needed > free:
        log(
            f"batches of up to {frames:,} frames take about {needed / GIGABYTE:.1f} GB, but {free / GIGABYTE:.1f} GB "
            "are free: set compute.precision=bf16, encoder.checkpointing=true, encoder.chunk_frames (changes "
            "results), or a smaller batch_size"
        )


def _uses_adam(loop: Any) -> bool:
    return not isinstance(loop, VisualTrainingConfig) or loop.optimizer == "adamw"
