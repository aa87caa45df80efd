"""What a training step of the visual encoder takes of memory. Computes no feature: the backbone is run on tensors that
have shapes and no numbers, and what autograd would keep of each frame is counted.

On a CPU that is exact, except for three copies of the largest weight that the gradient of its convolution takes. Not
counted are the activations of Light-T and of the temporal module, which are small beside the frames', and what a GPU's
convolutions take for themselves."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch.autograd.graph import saved_tensors_hooks

from slt_cache.encoders.registry import find_backbone

FRAMES = 2
"""Frames that are run; a batch norm refuses to be trained by one pixel."""
PIXEL = 1
"""Bytes a colour of a frame, uint8."""
FLOAT = 4
"""Bytes."""


@dataclass(frozen=True)
class FrameBytes:
    """Bytes a frame of one way to train the backbone."""

    kept: int
    """Between the forward and the backward pass."""
    peak: int
    """Where the backward pass needs most, with gradients and what is computed again."""


@dataclass(frozen=True)
class _Block:
    """What one block of the backbone keeps for its backward pass."""

    read: int
    """Bytes of its input."""
    saved: dict[int, int]
    """Bytes of each tensor that is saved, by its identity; the input among them, and what the next block saves too."""
    saved_inside: int
    """Bytes of those that are not its input."""
    written: int
    """Bytes of its output."""


@lru_cache
def frame_bytes(backbone: str, size: int, half: bool = False, checkpointing: bool = False) -> FrameBytes:
    """Counts for a frame of `size` x `size` pixels; `half` is mixed precision (bf16 or fp16), `checkpointing` that of
    `encoder.checkpointing`."""
    blocks = _run(backbone, size, torch.bfloat16 if half else torch.float32)
    frames = 3 * size**2 * PIXEL
    if not checkpointing:
        saved = {tensor: count for block in blocks for tensor, count in block.saved.items()}
        kept = frames + sum(saved.values()) // FRAMES
        return FrameBytes(kept, kept + 2 * blocks[-2].written // FRAMES)
    # The backward pass computes one block at a time, from the last to the first, with two gradients of its largest map.
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
    """Counts for the peak of an update over `frames` kept frames. The weights of the whole model, their gradients and
    the optimizer's `moments` (SGD 1, AdamW 2) are float32; mixed precision has a copy of the weights besides. With
    chunks, all frames wait as pixels, one chunk is computed, and its gradients are added to those of the chunks
    before."""
    weights = parameters * (FLOAT * (2 + moments) + (2 if half else 0))
    if chunk_frames is not None:
        weights += parameters * FLOAT
        at_once = min(frames, chunk_frames)
        return weights + frames * 3 * size**2 * PIXEL + at_once * frame_bytes(backbone, size, half).peak
    return weights + frames * frame_bytes(backbone, size, half, checkpointing).peak


def _run(backbone: str, size: int, dtype: torch.dtype) -> list[_Block]:
    """Runs the backbone block by block, on no numbers, and sees what is saved."""
    kind, alive, blocks = find_backbone(backbone), [], []
    with torch.device("meta"):
        network = kind.build().to(dtype).train()
        given = torch.empty(FRAMES, 3, size, size, dtype=dtype)
    for block in kind.blocks(network):
        saved: dict[int, int] = {}

        def keep(tensor: torch.Tensor, saved: dict[int, int] = saved) -> torch.Tensor:
            if tensor.dim() and len(tensor) == FRAMES:  # of frames, not of channels
                storage = tensor.untyped_storage()
                alive.append(storage)  # else another could have the same identity
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
