"""Probing of videos before hours are spent on them: parallel processes, which a broken file may crash, open every
video, and all bad ones are named at once. Good ones are remembered in the run folder by path, size and modification
time."""

from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from slt_cache.corpora.base import Clip, Problems
from slt_cache.corpora.characters import is_there
from slt_cache.distributed.processes import gather_object, is_main_process
from slt_cache.errors import InputError
from slt_cache.hashes import read_signed, write_signed
from slt_cache.pipeline.run_corpus import BadClip, Probe, absent_videos
from slt_cache.progress import log, progress_bar
from slt_cache.runs.run import Run
from slt_cache.threads import available_cores
from slt_cache.video.known_signers import with_signers
from slt_cache.video.probing import ProbedClip, VideoToProbe, probe_video
from slt_cache.video.subprocess import WorkerDied, map_in_subprocess

PROBED_FILE = "probed.json"
MOST_PROCESSES = 16
"""Largest number of processes; more do not make a disk faster."""
MAX_NAMED = 10
"""Largest number of clips named in a line of progress; an error names all."""


def probe(folder: Path, clips: Sequence[Clip], fps: float = 0.0) -> Probe:
    """Opens the video of every clip and decodes one frame of each video. `folder` is the run's, which remembers good
    clips: a second call only checks whether their files have changed. `fps` is `video.fps`."""
    memory = _Memory(folder / PROBED_FILE, fps)
    found: dict[int, ProbedClip] = {}
    open_now: dict[Path, list[int]] = {}
    for number, clip in enumerate(clips):
        remembered = memory.find(clip)
        if remembered is None:
            open_now.setdefault(clip.video, []).append(number)
        else:
            found[number] = remembered
    jobs = [VideoToProbe(video, tuple(clips[number] for number in numbers), fps) for video, numbers in open_now.items()]
    notes: dict[str, list[str]] = {}
    try:
        with progress_bar("opening videos", "video", total=len(jobs)) as show:
            for done, (job, answer) in enumerate(_probed(jobs), start=1):
                for note in answer[0].notes:
                    notes.setdefault(note, []).append(job.video.name)
                for number, clip, one in zip(open_now[job.video], job.clips, answer, strict=True):
                    found[number] = one
                    memory.add(clip, one)
                show(done, len(jobs))
    finally:
        memory.save()
    for note, videos in notes.items():
        log(f"{_listed(videos)}: {note}.")
    return _summary(clips, found)


def readable_clips(run: Run, clips: Sequence[Clip], allow_missing: bool, command: str) -> list[Clip]:
    """Returns the readable clips; the main process opens them.

    Raises InputError naming all others at once, unless `allow_missing` leaves them out, which is logged. `command` is
    the training to suggest."""
    [found] = gather_object(lambda: [probe_clips(run, clips)] if is_main_process() else [])
    if found.past_end:
        many = len(found.past_end)
        ends = "1 clip ends after its video does, and is" if many == 1 else f"{many:,} clips end after theirs, and are"
        log(f"{ends} read up to the video's end: {_listed([bad.clip.id for bad in found.past_end])}")
    if not found.bad:
        return list(clips)
    if not allow_missing or len(found.bad) == len(clips):
        choice = "" if allow_missing else f", or train without them: {command} --allow-missing"
        raise _refusal(run, clips, found.bad, choice)
    unreadable = {bad.clip.id for bad in found.bad}
    log(f"training without {len(found.bad):,} of {len(clips):,} clips, which cannot be read: {_listed(unreadable)}")
    return [clip for clip in clips if clip.id not in unreadable]


def require_readable(run: Run, clips: Sequence[Clip], fps: float, manifest: Path | None = None) -> None:
    """Raises InputError naming all unreadable clips, before the others are translated. `manifest` is the user's file
    that lists them, if they are not the run's own."""
    [found] = gather_object(lambda: [probe(run.folder, clips, fps)] if is_main_process() else [])
    if found.bad and manifest is not None:
        raise InputError(f"{_named(found.bad, len(clips))}\nCorrect {manifest}, or repair the videos.")
    if found.bad:
        raise _refusal(run, clips, found.bad, "")


def probed_frames(folder: Path, fps: float) -> Callable[[Clip], int | None]:
    """Returns a function to T of a clip that the run of this folder has probed; None if unknown."""
    memory = _Memory(folder / PROBED_FILE, fps)

    def frames_of(clip: Clip) -> int | None:
        found = memory.find(clip)
        return None if found is None else found.num_frames

    return frames_of


def probe_clips(run: Run, clips: Sequence[Clip]) -> Probe:
    """Opens the video of every clip like `probe`, with the settings and memory of a run."""
    return probe(run.folder, clips, run.config.video.fps)


def find_signers(run: Run, clips: Sequence[Clip]) -> tuple[list[Clip], Problems]:
    """Returns the clips with the boxes of their signers, like `with_signers`, with the settings and memory of a run."""
    return with_signers(run.folder, clips, run.config.encoder.python, run.config.compute.readers)


def _refusal(run: Run, clips: Sequence[Clip], bad: Sequence[BadClip], choice: str) -> InputError:
    if not any(is_there(one.clip.video) for one in bad):
        return absent_videos(run, [one.clip for one in bad], len(clips), choice)
    return InputError(
        f"{_named(bad, len(clips))}\nRepair the videos, or remove the clips from the manifest{choice or '.'}"
    )


def _named(bad: Sequence[BadClip], total: int) -> str:
    return "\n".join([f"{len(bad):,} of {total:,} clips cannot be read:", *(f"  {one}" for one in bad)])


def _listed(ids: Collection[str]) -> str:
    more = f", and {len(ids) - MAX_NAMED:,} more" if len(ids) > MAX_NAMED else ""
    return ", ".join(map(repr, sorted(ids)[:MAX_NAMED])) + more


def _summary(clips: Sequence[Clip], found: dict[int, ProbedClip]) -> Probe:
    bad = [BadClip(clip, found[number].reason or "") for number, clip in enumerate(clips) if found[number].reason]
    past_end = [
        BadClip(clip, f"ends at {clip.end:g} s, but the video at {seconds:.2f} s")
        for number, clip in enumerate(clips)
        if (seconds := found[number].seconds) is not None and found[number].reason is None
    ]
    num_frames = {clip.id: found[number].num_frames for number, clip in enumerate(clips) if not found[number].reason}
    lengths = {
        clip.id: length
        for number, clip in enumerate(clips)
        if found[number].reason is None and (length := found[number].length) is not None
    }
    return Probe(tuple(bad), tuple(past_end), num_frames, lengths)


def _probed(jobs: Sequence[VideoToProbe]) -> Iterator[tuple[VideoToProbe, list[ProbedClip]]]:
    """Yields every job with its result, in any order. Each of several processes takes its shard; one that crashes or
    hangs on a file costs only that file."""
    many = min(len(jobs), MOST_PROCESSES, available_cores())
    shards = [jobs[first::many] for first in range(many)]
    with ExitStack() as stack:
        waiting = [iter(stack.enter_context(closing(_answers(shard)))) for shard in shards]
        while waiting:
            answers = waiting.pop(0)
            answer = next(answers, None)
            if answer is not None:
                yield answer
                waiting.append(answers)


def _answers(jobs: Sequence[VideoToProbe]) -> Generator[tuple[VideoToProbe, list[ProbedClip]], None, None]:
    """Yields the results of one process."""
    for job, answer in zip(jobs, map_in_subprocess(probe_video, jobs), strict=True):
        if isinstance(answer, WorkerDied):
            answer = [ProbedClip(str(answer))] * len(job.clips)
        yield job, answer


@dataclass
class _Remembered:
    """Result for one video file or folder, valid while its size and modification time are unchanged."""

    size: int
    changed: int
    """Modification time in nanoseconds."""
    segments: dict[str, ProbedClip] = field(default_factory=dict)
    """Results for the good clips by their start and end."""

    @classmethod
    def read(cls, entry: Any) -> "_Remembered":
        segments = {
            str(segment): ProbedClip(num_frames=int(frames), seconds=_seconds(seconds), length=_seconds(length))
            for segment, (frames, seconds, length) in entry["cuts"].items()
        }
        return cls(int(entry["size"]), int(entry["changed"]), segments)

    def to_json(self) -> dict[str, Any]:
        cuts = {segment: [one.num_frames, one.seconds, one.length] for segment, one in self.segments.items()}
        return {"size": self.size, "changed": self.changed, "cuts": cuts}


class _Memory:
    """Good clips that earlier calls opened. Bad ones are not remembered: they are few and will be repaired."""

    def __init__(self, path: Path, fps: float):
        self.path = path
        self.fps = fps
        self.videos = self._read()
        self.new = False
        self._status: dict[Path, tuple[int, int] | None] = {}

    def _read(self) -> dict[str, _Remembered]:
        """Reads the file; a damaged one, or one of another `video.fps`, counts as empty."""
        try:
            saved = read_signed(self.path)
            if saved["fps"] != self.fps:
                return {}
            return {str(video): _Remembered.read(entry) for video, entry in saved["videos"].items()}
        except (InputError, ValueError, KeyError, TypeError, AttributeError):
            return {}

    def find(self, clip: Clip) -> ProbedClip | None:
        """Returns the result for a clip whose video is unchanged; None if unknown."""
        known = self.videos.get(_key(clip.video))
        if known is None or (known.size, known.changed) != self._status_of(clip.video):
            return None
        return known.segments.get(_segment(clip))

    def add(self, clip: Clip, found: ProbedClip) -> None:
        status = self._status_of(clip.video)
        if found.reason is not None or status is None:
            return
        known = self.videos.get(_key(clip.video))
        if known is None or (known.size, known.changed) != status:
            known = self.videos[_key(clip.video)] = _Remembered(*status)
        known.segments[_segment(clip)] = replace(found, notes=())
        self.new = True

    def save(self) -> None:
        if self.new and is_main_process():
            videos = {video: known.to_json() for video, known in self.videos.items()}
            write_signed(self.path, {"fps": self.fps, "videos": videos})

    def _status_of(self, video: Path) -> tuple[int, int] | None:
        """Returns size and modification time, as before the video was opened."""
        if video not in self._status:
            try:
                status = video.stat()
                self._status[video] = status.st_size, status.st_mtime_ns
            except (OSError, ValueError):
                self._status[video] = None
        return self._status[video]


def _seconds(value: Any) -> float | None:
    return None if value is None else float(value)


def _key(video: Path) -> str:
    return str(video.absolute())


def _segment(clip: Clip) -> str:
    return f"{clip.start} {clip.end}"
