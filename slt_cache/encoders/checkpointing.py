"""The backbone in less memory: activations that are computed again when their gradients are due. Knows no files.

What is computed a second time is computed from the same inputs and gives the same numbers; the running statistics of
the batch norms are kept from the second pass, since they have counted these frames already."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from torchvision.ops import StochasticDepth

Step = Callable[[torch.Tensor], torch.Tensor]


def by_blocks(blocks: Sequence[nn.Module], before: Step, frames: torch.Tensor) -> torch.Tensor:
    """Runs the blocks of a backbone over frames [n, ...], after the step `before` the first one. Kept are the frames
    and the input of each block; of everything else, one block's at a time. Gives the features, gradients and
    statistics of the backbone run as a whole."""
    stem, *inner, pooling = blocks
    features = _again(lambda frames: stem(before(frames)), stem, frames)
    for block in inner:
        features = _again(block, block, features)
    pooled: torch.Tensor = pooling(features)
    return pooled


def in_chunks(whole: Step, backbone: nn.Module, frames: torch.Tensor, at_most: int) -> torch.Tensor:
    """Runs `whole` over chunks of the frames [n, ...] that are as nearly equal as can be: a last chunk of one frame
    would have no statistics. Batch norms use those of each chunk, so this is another training than with all at once."""
    chunks = frames.tensor_split(math.ceil(len(frames) / at_most))
    return torch.cat([_again(whole, backbone, chunk) for chunk in chunks])


def _again(step: Step, modules: nn.Module, given: torch.Tensor) -> torch.Tensor:
    """Runs the step, whose activations are computed again when they are due, with the same random numbers where its
    modules draw any."""

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _statistics_kept(modules)

    random = any(isinstance(module, nn.Dropout | StochasticDepth) for module in modules.modules())
    return checkpoint(step, given, use_reentrant=False, preserve_rng_state=random, context_fn=contexts)


@contextmanager
def _statistics_kept(module: nn.Module) -> Iterator[None]:
    """Lets batch norms count into copies of their running statistics. A momentum of 0 would not do: of infinite
    statistics it makes nan."""
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
