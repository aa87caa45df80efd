"""A long video as windows of some seconds, each a clip of its own. Reads packets; decodes nothing."""

from dataclasses import replace

from slt_cache.corpora.base import Clip
from slt_cache.video.decode import video_timeline
from slt_cache.video.stream import UnreadableVideo, VideoError


def borders(length: float, window: float) -> list[float]:
    """Seconds at which windows begin. What is left at the end is a window where it is at least half as long as the
    others; else it belongs to the one before, since a moment of a video is no sentence."""
    count = int(length // window)
    if length - count * window >= window / 2:
        count += 1
    return [float(number * window) for number in range(max(count, 1))]


def windows(clip: Clip, window: float) -> list[Clip]:
    """The whole of a clip's video in windows of this many seconds, every frame in one of them; the last one ends where
    the video does, and one without a frame is left out. A file that cannot be read stays whole: reading it says why.
    Raises UnreadableVideo for what has no frame rate."""
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
    return UnreadableVideo(clip.id, clip.video, f"{what} has no frame rate, so no seconds to cut it by")
