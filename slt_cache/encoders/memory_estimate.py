"""What a training step of the visual encoder takes of memory, by arithmetic. Runs nothing.

Counted is what a ResNet-18 keeps for its backward pass: the input of every convolution, batch norm and pooling, and
the indices of the pooling; a ReLU works in place. On a CPU that is exact, but for three copies of the largest
weight (28 MB) that the gradient of its convolution takes. Not counted are the activations of Light-T and of the
temporal module, which are small beside the frames', and what a GPU's convolutions take for themselves."""

import math
from dataclasses import dataclass

STEM = 64
"""Channels behind the first convolution and in the first stage."""
STAGES = (64, 128, 256, 512)
"""Channels; each stage has two residual blocks."""
INDEX = 8
"""Bytes; the pooling remembers where each maximum was as int64."""
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


def frame_bytes(size: int, half: bool = False, checkpointing: bool = False) -> FrameBytes:
    """Of a frame of `size` x `size` pixels; `half` is mixed precision (bf16 or fp16), `checkpointing` that of
    `encoder.checkpointing`."""
    number = 2 if half else FLOAT
    sides = _sides(size)
    frames = 3 * size**2 * PIXEL
    images = 3 * size**2 * number
    wide, pooled = STEM * sides[0] ** 2 * number, STEM * sides[1] ** 2 * number
    stem = images + 2 * wide + STEM * sides[1] ** 2 * INDEX  # batch norm's input and ReLU's result
    maps = [channels * side**2 * number for channels, side in zip(STAGES, sides[1:], strict=True)]
    # A block keeps what its two batch norms and its second convolution read, and its result, which the next one reads;
    # from the second stage on the first block has a third batch norm on its shortcut.
    if not checkpointing:
        kept = frames + stem + pooled + sum(map_ * (8 if stage == 0 else 9) for stage, map_ in enumerate(maps))
        return FrameBytes(kept, kept + 2 * maps[-1])
    inputs = [pooled, *(map_ for map_ in maps for _ in range(2))][:-1]  # of eight blocks
    # The first convolution's maps are the largest by far. When the stem is computed again at the end of the backward
    # pass, all but the frames is free, and two gradients of that size are there at once.
    return FrameBytes(frames + sum(inputs), frames + stem + 2 * wide)


def step_bytes(
    frames: int,
    size: int,
    parameters: int,
    *,
    half: bool = False,
    checkpointing: bool = False,
    chunk_frames: int | None = None,
    moments: int = 1,
) -> int:
    """Bytes at the peak of an update over so many kept frames. The weights of the whole model, their gradients and the
    optimizer's `moments` (SGD 1, AdamW 2) are float32; mixed precision has a copy of the weights besides. With chunks,
    all frames wait as pixels, one chunk is computed, and its gradients are added to those of the chunks before."""
    weights = parameters * (FLOAT * (2 + moments) + (2 if half else 0))
    if chunk_frames is not None:
        weights += parameters * FLOAT
        at_once = min(frames, chunk_frames)
        return weights + frames * 3 * size**2 * PIXEL + at_once * frame_bytes(size, half).peak
    return weights + frames * frame_bytes(size, half, checkpointing).peak


def _sides(size: int) -> list[int]:
    """Of the maps behind the first convolution and in the four stages; each halves, rounded up."""
    sides = [math.ceil(size / 2)]
    for _ in STAGES:
        sides.append(math.ceil(sides[-1] / 2))
    return sides
