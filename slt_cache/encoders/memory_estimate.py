"""Memory estimate of a training step of the visual encoder. The backbone runs on meta tensors, and what autograd would
save for each frame is counted.

On a CPU the estimate is exact, except for three copies of the largest weight in its convolution's gradient. It ignores
the activations of Light-T and the temporal module, which are small by comparison, and workspaces of a GPU's
convolutions."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch.autograd.graph import saved_tensors_hooks

from slt_cache.encoders.registry import find_backbone

FRAMES = 2
"""Frames of the dry run; batch norm cannot be trained on a single pixel."""
PIXEL = 1
"""Bytes per colour of a frame, uint8."""
FLOAT = 4
"""Bytes of a float32."""


@dataclass(frozen=True)
class FrameBytes:
    """Bytes per frame of one way to train the backbone."""

    kept: int
    """Bytes saved between the forward and the backward pass."""
    peak: int
    """Bytes at the peak of the backward pass, with gradients and recomputed activations."""


@dataclass(frozen=True)
class _Block:
    """Tensors that one block of the backbone saves for its backward pass."""

    read: int
    """Bytes of its input."""
    saved: dict[int, int]
    """Bytes of each saved tensor, by its identity; includes the input, and tensors that the next block saves too."""
    saved_inside: int
    """Bytes of saved tensors other than its input."""
    written: int
    """Bytes of its output."""


@lru_cache
def frame_bytes(backbone: str, size: int, half: bool = False, checkpointing: bool = False) -> FrameBytes:
    """Returns the bytes per frame of `size` x `size` pixels; `half` is mixed precision (bf16 or fp16), `checkpointing`
    the setting encoder.checkpointing."""
    blocks = _run(backbone, size, torch.bfloat16 if half else torch.float32)
    frames = 3 * size**2 * PIXEL
    if not checkpointing:
        saved = {tensor: count for block in blocks for tensor, count in block.saved.items()}
        kept = frames + sum(saved.values()) // FRAMES
        return FrameBytes(kept, kept + 2 * blocks[-2].written // FRAMES)
    # The backward pass recomputes one block at a time, last to first, with two gradients of its largest map.
    stem, *inner, _ = blocks
    inputs, peaks = 0, [sum(stem.saved.values()) + 2 * max(stem.saved.values())]
    for block in inner:
        inputs += block.read
        peaks.append(inputs + block.saved_inside + 2 * max(block.saved.values()))
    return FrameBytes(frames + inputs // FRAMES, frames + max(peaks) // FRAMES)


def step_bytes(
    backbone: str,
    frames: int,
    size: int,
    parameters: int,
    *,
    half: bool = False,
    checkpointing: bool = False,
    chunk_frames: int | None = None,
    moments: int = 1,
) -> int:
    """Returns the bytes at the peak of an optimizer step over `frames` kept frames. Weights, gradients and the
    optimizer's `moments` (SGD 1, AdamW 2) are float32; mixed precision adds a copy of the weights. With chunks, all
    frames are held as pixels, one chunk is computed, and gradients are accumulated."""
    weights = parameters * (FLOAT * (2 + moments) + (2 if half else 0))
    if chunk_frames is not None:
        weights += parameters * FLOAT
        at_once = min(frames, chunk_frames)
        return weights + frames * 3 * size**2 * PIXEL + at_once * frame_bytes(backbone, size, half).peak
    return weights + frames * frame_bytes(backbone, size, half, checkpointing).peak


def _run(backbone: str, size: int, dtype: torch.dtype) -> list[_Block]:
    """Runs the backbone block by block on meta tensors and records what is saved."""
    kind, alive, blocks = find_backbone(backbone), [], []
    with torch.device("meta"):
        network = kind.build().to(dtype).train()
        given = torch.empty(FRAMES, 3, size, size, dtype=dtype)
    for block in kind.blocks(network):
        saved: dict[int, int] = {}

        def keep(tensor: torch.Tensor, saved: dict[int, int] = saved) -> torch.Tensor:
            if tensor.dim() and len(tensor) == FRAMES:  # of frames, not of channels
                storage = tensor.untyped_storage()
                alive.append(storage)  # or another could get the same identity
                saved[storage._cdata] = storage.nbytes()
            return tensor

        with saved_tensors_hooks(keep, _unchanged):
            written = block(given)
        inside = sum(saved.values()) - saved.get(given.untyped_storage()._cdata, 0)
        blocks.append(_Block(given.nbytes, saved, inside, written.nbytes))
        given = written
    return blocks


def _unchanged(tensor: torch.Tensor) -> torch.Tensor:
    return tensor
