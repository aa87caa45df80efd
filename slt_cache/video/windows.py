"""Splits a long video into windows of a few seconds, each a separate clip. Reads packets; decodes nothing."""

from dataclasses import replace
from pathlib import Path

from slt_cache.corpora.base import Clip
from slt_cache.video.decode import video_timeline
from slt_cache.video.stream import UnreadableVideo, VideoError, require_there
from slt_cache.video.timeline import Timeline


class NoRate(VideoError):
    """Raised for a video without a frame rate."""

    def __init__(self, what: str):
        super().__init__(f"{what} has no frame rate, so it cannot be split by seconds")


def timed(video: Path) -> Timeline:
    """Returns the times of a video's frames. Raises NoRate, and VideoError for a file that cannot be read."""
    if video.is_dir():
        raise NoRate("a folder of frames")
    require_there(video)
    found = video_timeline(video)
    if found is None:
        raise NoRate("this file")
    return found


def borders(length: float, window: float) -> list[float]:
    """Returns the seconds at which windows begin. The rest at the end is a window if it has at least half the length of
    the others; else it belongs to the previous one, since a moment of a video is no sentence."""
    if window >= length:
        return [0.0]
    count = int(length // window)
    if length - count * window >= window / 2:
        count += 1
    return [float(number * window) for number in range(max(count, 1))]


def windows(clip: Clip, window: float) -> list[Clip]:
    """Splits a clip into windows of this many seconds, with every frame in one of them; the last one ends with the
    clip, and windows without frames are omitted. A file that cannot be read stays whole: reading it reports why.
    Raises UnreadableVideo if there is no frame rate."""
    try:
        frames = timed(clip.video)
    except NoRate as error:
        raise UnreadableVideo(clip.id, clip.video, error.reason) from error
    except VideoError:
        return [clip]
    begin, end = clip.start or 0.0, frames.end if clip.end is None else clip.end
    starts = [begin + border for border in borders(end - begin, window)]
    ends = [*starts[1:], round(end, 6)]
    return [
        replace(clip, id=f"{clip.id} from {start:g} s", start=start, end=end)
        for start, end in zip(starts, ends, strict=True)
        if frames.cut(start, end)
    ]
