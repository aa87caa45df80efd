"""The backbone in less memory: activations that are computed again when their gradients are due. Knows no files.

What is computed a second time is computed from the same inputs and gives the same numbers; only the running statistics
of the batch norms must not hear of it, since they have counted these frames already."""

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

Step = Callable[[torch.Tensor], torch.Tensor]


def by_blocks(backbone: Any, before: Step, frames: torch.Tensor) -> torch.Tensor:
    """A ResNet over frames [n, ...], after the step `before` it; kept are its frames and the inputs of its residual
    blocks, of everything else one block's at a time. Gives what the backbone gives, its gradients and statistics."""

    def stem(frames: torch.Tensor) -> torch.Tensor:
        return backbone.maxpool(backbone.relu(backbone.bn1(backbone.conv1(before(frames)))))

    features = _again(stem, backbone.bn1, frames)
    for stage in (backbone.layer1, backbone.layer2, backbone.layer3, backbone.layer4):
        for block in stage:
            features = _again(block, block, features)
    return backbone.fc(torch.flatten(backbone.avgpool(features), 1))


def in_chunks(whole: Step, backbone: nn.Module, frames: torch.Tensor, at_most: int) -> torch.Tensor:
    """`whole` over chunks of the frames [n, ...] that are as nearly equal as can be: a last chunk of one frame would
    have no statistics. Batch norms go by those of each chunk, so this is another training than with all at once."""
    chunks = frames.tensor_split(math.ceil(len(frames) / at_most))
    return torch.cat([_again(whole, backbone, chunk) for chunk in chunks])


def _again(step: Step, norms_of: nn.Module, given: torch.Tensor) -> torch.Tensor:
    """The step, whose activations are computed again when they are due."""

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _statistics_kept(norms_of)

    # There is nothing random in a ResNet whose state would have to be kept.
    return checkpoint(step, given, use_reentrant=False, preserve_rng_state=False, context_fn=contexts)


@contextmanager
def _statistics_kept(module: nn.Module) -> Iterator[None]:
    """Batch norms count into copies of their running statistics. A momentum of 0 would not do: of infinite
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
