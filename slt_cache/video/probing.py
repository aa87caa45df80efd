"""Probes the videos of clips before hours are spent on them: does each open, is it complete, does every segment lie
inside? Reads the packets of a video file and decodes a single frame; of a folder of frames it reads the last bytes of
each, and decodes the first, the last and those that do not end as they should."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from slt_cache.corpora.base import Clip
from slt_cache.video.decode import VideoFile
from slt_cache.video.images import ends_as_it_should, list_images, read_images
from slt_cache.video.stream import UnreadableVideo, VideoError, only_unreadable, require_there
from slt_cache.video.timeline import Timeline

TOLERANCE = 0.1
"""Seconds, in addition to one frame, by which a segment may exceed its video: annotation tools round, and audio may be
longer."""

MOST_DOUBTFUL = 20
"""Largest number of frames of a folder that are decoded because of their ends; a writer may end all in its own way."""


@dataclass(frozen=True)
class VideoToProbe:
    """One video and all clips taken from it."""

    video: Path
    clips: tuple[Clip, ...]
    fps: float
    """Value of `video.fps`, to which no folder of frames can be resampled."""


@dataclass(frozen=True, slots=True)
class ProbedClip:
    """Result for one clip."""

    reason: str | None = None
    """Reason why it cannot be read; None for a good clip."""
    num_frames: int = 0
    """T, frames before the keep rate; 0 for a bad clip."""
    seconds: float | None = None
    """End of the video if the clip ends after it."""
    notes: tuple[str, ...] = ()
    """Warnings about its video, which can be read."""
    length: float | None = None
    """Length in seconds, if the clip has no end or ends after its video; None for a folder of frames."""


def probe_video(job: VideoToProbe) -> list[ProbedClip]:
    """Probes one video; returns a result for each of its clips, in their order."""
    first = job.clips[0]
    try:
        with only_unreadable(first):
            require_there(first.video)
            if job.video.is_dir():
                return [_of_folder(clip, job.fps) for clip in job.clips]
            video = VideoFile(first.video)
            found = [replace(_of_cut(clip, video.timeline, job.fps), notes=video.notes) for clip in job.clips]
            return _with_first_frame(job.clips, found, video)
    except UnreadableVideo as error:
        return [ProbedClip(error.reason)] * len(job.clips)


def _of_folder(clip: Clip, fps: float) -> ProbedClip:
    try:
        images = list_images(clip, fps)
        for image in images:
            if not image.stat().st_size:
                raise VideoError(f"frame {image.name} is an empty file")
        doubtful = (image for image in images[1:-1] if not ends_as_it_should(image))
        for _ in read_images([images[0], *islice(doubtful, MOST_DOUBTFUL), *images[1:][-1:]], images[0]):
            pass
    except VideoError as error:
        return ProbedClip(error.reason)
    except OSError as error:
        return ProbedClip(f"frame {Path(error.filename or '').name} cannot be read ({error.strerror})")
    return ProbedClip(num_frames=len(images))


def _of_cut(clip: Clip, timeline: Timeline, fps: float) -> ProbedClip:
    frames = timeline.cut(clip.start, clip.end)
    if not frames:
        return ProbedClip(timeline.why_empty(clip.start, clip.end))
    found = ProbedClip(num_frames=len(timeline.resampled(frames, fps)) if fps else len(frames))
    length = len(frames) / timeline.fps
    if clip.end is None:
        return replace(found, length=length)
    tolerance = TOLERANCE + 1 / timeline.fps
    ends_inside = clip.end <= tolerance or bool(timeline.cut(clip.end - tolerance, None))
    return found if ends_inside else replace(found, seconds=timeline.end, length=length)


def _with_first_frame(clips: Sequence[Clip], found: list[ProbedClip], video: VideoFile) -> list[ProbedClip]:
    """Decodes the first frame of the first good clip, or of the next one if that fails, until one succeeds."""
    checked = list(found)
    earliest_first = sorted(range(len(clips)), key=lambda number: clips[number].start or 0.0)
    opened: VideoFile | None = video
    for number in earliest_first:
        if checked[number].reason is not None:
            continue
        clip = clips[number]
        try:
            file = opened or VideoFile(clip.video)
            opened = None  # it can be read once
            next(iter(file.read([file.timeline.cut(clip.start, clip.end)[0]])))
            return checked
        except VideoError as error:
            checked[number] = replace(checked[number], reason=error.reason)
    return checked
