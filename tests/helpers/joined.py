"""Videos that are joined of clips, with pauses between them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from slt_cache.corpora.base import Clip
from slt_cache.video.frames import read_kept_frames
from tests.helpers.videos import Coding, encode

LOSSLESS = Coding("joined.mkv", codec="ffv1", pixels="bgr0")
"""Frames of the same pixels as in the clips."""
RATE = 25


def frames_of(video: Path) -> np.ndarray:
    return read_kept_frames(Clip("all", "test", video, None, None, ""), 1).frames


def joined(
    path: Path,
    clips: Sequence[np.ndarray],
    pause: int,
    filler: str = "last",
    coding: Coding = LOSSLESS,
    noise: float = 0,
) -> list[tuple[float, float]]:
    """Writes a video of clips, uint8 [T, H, W, 3], with pauses of this many frames between them and at the end: of the
    `last` frame of a clip, of the first one of the `next`, of half of them each, or `black`. `noise` is the standard
    deviation of each pixel's. Returns the times of the clips in seconds."""
    frames: list[np.ndarray] = []
    times = []
    for number, clip in enumerate(clips):
        times.append((len(frames) / RATE, (len(frames) + len(clip)) / RATE))
        following = clips[(number + 1) % len(clips)][0]
        both = {"last": (clip[-1], clip[-1]), "next": (following, following), "half": (clip[-1], following)}
        first, second = both.get(filler, (np.zeros_like(following),) * 2)
        frames += [*clip, *[first] * (pause // 2), *[second] * (pause - pause // 2)]
    random = np.random.default_rng(0)

    def draw(number: int) -> np.ndarray:
        picture = frames[number]
        if noise:
            picture = np.clip(picture + random.normal(0, noise, picture.shape), 0, 255).astype(np.uint8)
        return np.ascontiguousarray(picture)

    encode(path, coding, len(frames), draw, RATE)
    return times
