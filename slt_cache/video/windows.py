"""Splits a long video into windows of a few seconds, each a separate clip. Reads packets; decodes nothing."""

from dataclasses import replace

from slt_cache.corpora.base import Clip
from slt_cache.video.decode import video_timeline
from slt_cache.video.stream import UnreadableVideo, VideoError


def borders(length: float, window: float) -> list[float]:
    """Returns the seconds at which windows begin. The rest at the end is a window if it has at least half the length of
    the others; else it belongs to the previous one, since a moment of a video is no sentence."""
    count = int(length // window)
    if length - count * window >= window / 2:
        count += 1
    return [float(number * window) for number in range(max(count, 1))]


def windows(clip: Clip, window: float) -> list[Clip]:
    """Splits a clip's video into windows of this many seconds, with every frame in one of them; the last one ends with
    the video, and windows without frames are omitted. A file that cannot be read stays whole: reading it reports why.
    Raises UnreadableVideo if there is no frame rate."""
    if clip.video.is_dir():
        raise _without_rate(clip, "a folder of frames")
    if not clip.video.is_file():
        return [clip]
    try:
        frames = video_timeline(clip.video)
    except VideoError:
        return [clip]
    if frames is None:
        raise _without_rate(clip, "this file")
    starts = borders(frames.end, window)
    ends = [*starts[1:], round(frames.end, 6)]
    return [
        replace(clip, id=f"{clip.id} from {start:g} s", start=start, end=end)
        for start, end in zip(starts, ends, strict=True)
        if frames.cut(start, end)
    ]


def _without_rate(clip: Clip, what: str) -> UnreadableVideo:
    return UnreadableVideo(clip.id, clip.video, f"{what} has no frame rate, so it cannot be split by seconds")
