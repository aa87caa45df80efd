"""Check: a step of stage 1 at 224 pixels takes the memory that is estimated before a training."""

from collections.abc import Iterator

import torch
from torch.optim import SGD

from slt_cache.checkpoints.visual import new_encoder
from slt_cache.config import Config, load_config
from slt_cache.device import peak_memory, reset_peak_memory
from slt_cache.doctor.base import Check, Finding, Subject
from slt_cache.encoders.frozen import PRECISIONS
from slt_cache.pipeline.visual_training import memory_needed

FRAMES, ON_CPU = 256, 24
"""Kept frames of the batch, on a GPU and on a CPU."""
COLOURS = 3
MEGABYTE = 1e6
RATIO, RATIO_ON_CPU = 1.3, 2.0
"""Largest ratio of the measured bytes to the estimated ones, or the other way round: a GPU's convolutions have
workspaces, and those of a CPU differ with its instructions (1.2 on an Intel Xeon, 1.6 on an AMD EPYC)."""
WAYS = {
    "fp32": (),
    "bf16": ("compute.precision=bf16",),
    "checkpointing": ("encoder.checkpointing=true",),
}
"""Settings of the steps; a CPU takes the first."""


def _check(subject: Subject) -> Iterator[Finding]:
    frames, ratio = (FRAMES, RATIO) if subject.on_gpu else (ON_CPU, RATIO_ON_CPU)
    for name, settings in WAYS.items():
        if name != "fp32" and not subject.on_gpu:
            yield Finding(name, not_checked="it takes long on a CPU")
            continue
        config = load_config("paper", settings)
        (few_estimated, few), (all_estimated, measured) = (
            _step(subject.device, config, count) for count in (frames // 2, frames)
        )
        # A difference is free of what the program itself takes.
        a_frame, estimated = measured - few, all_estimated - few_estimated
        yield Finding(f"{name}: measured MB per frame of 224 pixels", 2 * a_frame / frames / MEGABYTE)
        yield Finding(f"{name}: estimated MB per frame", 2 * estimated / frames / MEGABYTE)
        yield Finding(f"{name}: measured to estimated", a_frame / estimated, at_most=ratio)
        yield Finding(f"{name}: estimated to measured", estimated / max(a_frame, 1), at_most=ratio)


def _step(device: torch.device, config: Config, count: int) -> tuple[int, int]:
    """Returns the estimated and the measured bytes at the peak of two steps of the encoder over `count` frames."""
    encoder = new_encoder(config.encoder, config.video).to(device)
    encoder.checkpointing = config.encoder.checkpointing
    size, precision = config.video.size, config.compute.precision
    optimizer = SGD(encoder.parameters(), 1e-3, momentum=0.9)
    frames = torch.randint(0, 256, (count, COLOURS, size, size), dtype=torch.uint8, device=device)
    reset_peak_memory(device)
    for _ in range(2):
        optimizer.zero_grad()
        with torch.autocast(device.type, PRECISIONS[precision], enabled=precision != "fp32"):
            features = encoder(frames, torch.tensor([count], device=device))
        features.float().sum().backward()
        optimizer.step()
    parameters = sum(weight.numel() for weight in encoder.parameters())
    return memory_needed(parameters, config, count, adam=False), peak_memory(device)


CHECK = Check("memory", "A step of stage 1 takes the memory that --dry-run estimates.", _check)
