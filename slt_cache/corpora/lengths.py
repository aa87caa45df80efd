"""Lengths of videos by their headers: read once, by several threads, and kept in the run folder by path, size and
modification time. Decodes nothing."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slt_cache.corpora.base import Clip, Problems
from slt_cache.corpora.characters import is_there
from slt_cache.corpora.media import ProgressCallback, no_progress
from slt_cache.corpora.official import MediaFile, add_issue, is_unicode
from slt_cache.errors import InputError
from slt_cache.hashes import read_signed, write_signed
from slt_cache.progress import progress_bar

LENGTHS_FILE = "lengths.json"
UNREADABLE_VIDEO = "video that cannot be opened"
THREADS = 8
"""Threads; most of the time is spent waiting for the disk."""
READ_AT_ONCE = 4096
"""Videos after which the lengths are written, so that a kill loses few."""


@dataclass(frozen=True, slots=True)
class _Known:
    """Length of a video, valid while its size and modification time are unchanged."""

    size: int
    changed: int
    """Modification time in nanoseconds."""
    frames: int | None
    seconds: float | None


class Lengths:
    """Lengths of a run's videos. Videos that do not open are not kept: they are few and will be repaired."""

    def __init__(self, path: Path | None = None) -> None:
        """Reads what the file holds; a damaged one counts as empty. Without a path nothing is kept."""
        self.path = path
        self.known: dict[str, _Known] = {}
        self.new = False
        try:
            saved = {} if path is None else read_signed(path)["videos"]
            self.known = {str(video): _known(entry) for video, entry in saved.items()}
        except (InputError, ValueError, KeyError, TypeError, AttributeError):
            pass

    def read(self, video: Path) -> MediaFile | str:
        """Returns the length, or why the video does not open."""
        name, status = str(video.absolute()), _status(video)
        known = self.known.get(name)
        if known is not None and (known.size, known.changed) == status:
            return MediaFile(video, known.frames, known.seconds)
        try:
            found = _of_header(video)
        except ValueError as error:
            return str(error)
        if status is not None and is_unicode(name):  # JSON is UTF-8; the manifest will refuse other names
            self.known[name] = _Known(*status, found.frames, found.seconds)
            self.new = True
        return found

    def save(self) -> None:
        if self.new and self.path is not None:
            videos = {
                video: [known.size, known.changed, known.frames, known.seconds] for video, known in self.known.items()
            }
            write_signed(self.path, {"videos": videos})
            self.new = False


_kept: ContextVar[Lengths | None] = ContextVar("lengths", default=None)


@contextmanager
def kept_lengths(path: Path, writes: bool = True) -> Iterator[None]:
    """Keeps in a file the lengths that `measure` reads within the block; with `writes` off it only reads the file."""
    lengths = Lengths(path)
    if not writes:
        lengths.path = None
    before = _kept.set(lengths)
    try:
        yield
        lengths.save()
    finally:
        _kept.reset(before)


def measure(
    paths: Iterable[Path], problems: Problems, progress: ProgressCallback = no_progress
) -> dict[Path, MediaFile]:
    """Reads the length of each video from its header; a video that does not open is listed among the problems and has
    no length."""
    lengths = _kept.get() or Lengths()
    found: dict[Path, MediaFile] = {}
    wanted = list(paths)
    with ThreadPoolExecutor(THREADS) as pool:
        for first in range(0, len(wanted), READ_AT_ONCE):
            some = wanted[first : first + READ_AT_ONCE]
            for done, (path, medium) in enumerate(zip(some, pool.map(lengths.read, some), strict=True), first + 1):
                if isinstance(medium, str):
                    add_issue(problems, UNREADABLE_VIDEO, f"{path.name}: {medium}")
                found[path] = MediaFile(path) if isinstance(medium, str) else medium
                progress(done, len(wanted))
            if first:
                lengths.save()
    return found


def untimed_videos(clips: Iterable[Clip], media: Mapping[Path, MediaFile]) -> list[Path]:
    """Returns the video files of clips without an end, except those whose length is known. A name may be one that no
    file can have."""
    videos = dict.fromkeys(clip.video for clip in clips if clip.end is None)
    return [video for video in videos if video not in media and is_there(video) and video.is_file()]


def seconds_by_clip(
    clips: Sequence[Clip], media: Mapping[Path, MediaFile], frame_rate: float | None
) -> Callable[[Clip], float | None]:
    """Returns a function to the length of each clip, for which the videos of clips without an end are opened, except
    those whose length is in `media`."""
    with progress_bar("reading lengths of videos", "video") as progress:
        known = {**media, **measure(untimed_videos(clips, media), {}, progress)}
    return lambda clip: seconds_of(clip, known.get(clip.video), frame_rate)


def seconds_of(clip: Clip, medium: MediaFile | None, frame_rate: float | None) -> float | None:
    """Returns the length of a clip, None if unknown. `medium` is its video, whose end cuts the clip; `frame_rate`
    counts for folders of frames."""
    video = None if medium is None else medium.seconds
    if video is None and medium is not None and medium.frames is not None and frame_rate is not None:
        video = medium.frames / frame_rate
    end = min((time for time in (clip.end, video) if time is not None), default=None)
    return None if end is None else max(end - (clip.start or 0.0), 0.0)


def _known(entry: Any) -> _Known:
    size, changed, frames, seconds = entry
    return _Known(int(size), int(changed), frames and int(frames), seconds and float(seconds))


def _status(video: Path) -> tuple[int, int] | None:
    """Returns size and modification time; None for a video that the system does not show."""
    try:
        status = video.stat()
    except (OSError, ValueError):
        return None
    return status.st_size, status.st_mtime_ns


def _of_header(path: Path) -> MediaFile:
    """Reads the header. Raises ValueError if the file does not open or holds no video."""
    import av  # takes a while to import, and folders of frames need none

    try:
        if not path.is_file():  # opening a named pipe may block for ever
            raise ValueError("it is not a file")
        with av.open(str(path.absolute()), options={"protocol_whitelist": "file"}) as container:
            if not container.streams.video:
                raise ValueError("it holds no video")
            stream = container.streams.video[0]
            seconds = None if container.duration is None else container.duration / av.time_base
            if stream.duration is not None and stream.time_base is not None:
                seconds = float(stream.duration * stream.time_base)
                if stream.start_time is not None and container.start_time is not None:  # frames may begin after sound
                    seconds += float(stream.start_time * stream.time_base) - container.start_time / av.time_base
            return MediaFile(path, stream.frames or None, seconds)
    except (av.error.FFmpegError, OSError) as error:
        raise ValueError(type(error).__name__) from error
