"""Activation checkpointing of the backbone: activations are recomputed in the backward pass. Knows no files.

Recomputation uses the same inputs and gives the same results; batch-norm statistics ignore the second pass, since the
first one has counted these frames."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from torchvision.ops import StochasticDepth

Step = Callable[[torch.Tensor], torch.Tensor]


def by_blocks(blocks: Sequence[nn.Module], before: Step, frames: torch.Tensor) -> torch.Tensor:
    """Runs the blocks of a backbone over frames [n, ...], after the step `before`. Stores only the frames and each
    block's input, plus the activations of one block at a time. Features, gradients and statistics equal those of the
    whole backbone."""
    stem, *inner, pooling = blocks
    features = _checkpointed(lambda frames: stem(before(frames)), stem, frames)
    for block in inner:
        features = _checkpointed(block, block, features)
    pooled: torch.Tensor = pooling(features)
    return pooled


def in_chunks(whole: Step, backbone: nn.Module, frames: torch.Tensor, at_most: int) -> torch.Tensor:
    """Runs `whole` over chunks of the frames [n, ...] of nearly equal size, since a last chunk of one frame would have
    no statistics. Batch norms use the statistics of each chunk, so training differs from that on whole batches."""
    chunks = frames.tensor_split(math.ceil(len(frames) / at_most))
    return torch.cat([_checkpointed(whole, backbone, chunk) for chunk in chunks])


def _checkpointed(step: Step, modules: nn.Module, given: torch.Tensor) -> torch.Tensor:
    """Runs the step with activation checkpointing, replaying random numbers if its modules draw any."""

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _statistics_kept(modules)

    random = any(isinstance(module, nn.Dropout | StochasticDepth) for module in modules.modules())
    return checkpoint(step, given, use_reentrant=False, preserve_rng_state=random, context_fn=contexts)


@contextmanager
def _statistics_kept(module: nn.Module) -> Iterator[None]:
    """Lets batch norms update copies of their running statistics. A momentum of 0 would turn infinite statistics into
    nan."""
    norms = [norm for norm in module.modules() if isinstance(norm, nn.BatchNorm2d)]
    kept = [(norm, dict(norm.named_buffers(recurse=False))) for norm in norms]
    try:
        for norm, buffers in kept:
            for name, value in buffers.items():
                setattr(norm, name, value.clone())
        yield
    finally:
        for norm, buffers in kept:
            for name, value in buffers.items():
                setattr(norm, name, value)
