"""Features that another program makes of videos: a list of clips in, a .npy file [N, C] per clip out. Its calling
convention is described in encoders/README.md."""

import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import IO

import numpy as np
import torch

from slt_cache.children import end_program, ending, last_line, likely_cause, start_program
from slt_cache.corpora.base import Clip
from slt_cache.progress import log
from slt_cache.video.chunks import ChunkReader, ClipEnd, ClipView, Event
from slt_cache.video.frames import open_frames
from slt_cache.video.stream import MOST_CHARACTERS, UnreadableVideo, VideoError, only_unreadable
from slt_cache.video.subprocess import WorkerDied, map_in_subprocess

LOOK_AT = "Look at the program and at the video, or remove the clip from the manifest."
"""What to do about a clip without features."""
Found = np.ndarray | VideoError
"""Features of a clip, float32 [N, C], or why there are none."""


@dataclass(frozen=True)
class ProgramReader(ChunkReader):
    """Has a program make the features of clips, view 0: one chunk a clip, float32 [N, C]."""

    arguments: tuple[str, ...] = ()
    """The program, and its first arguments."""
    dim: int = 0
    """C that is required of the files; 0 for any."""
    together: int = 1
    """Clips per call of the program."""

    def events(self, job: ClipView) -> Iterator[Event]:
        """Yields the events of one clip, for which the program is called."""
        return self.events_of_all([job], 0)

    def events_of_all(self, jobs: Iterable[ClipView], workers: int) -> Iterator[Event]:
        """Yields the events of all jobs in order. With 0 `workers`, the lengths of videos are read in this process."""
        jobs = iter(jobs)
        while batch := list(islice(jobs, self.together)):
            assert not any(job.view for job in batch), "a program makes no augmented views"
            clips = [job.clip for job in batch]
            length = partial(_length, fps=0.0)
            ends = list(map_in_subprocess(length, clips) if workers else map(length, clips))
            readable = [clip for clip, end in zip(clips, ends, strict=True) if isinstance(end, ClipEnd)]
            found = self.features(readable)
            for clip, end in zip(clips, ends, strict=True):
                yield from _events(clip, end, found.get(clip))

    def features(self, clips: Sequence[Clip]) -> dict[Clip, Found]:
        """Returns what the program makes of each clip. Where it fails, the features that it wrote count, and the first
        clip without is tried alone; so a clip that ends the program costs no other clip."""
        found: dict[Clip, Found] = {}
        todo = list(clips)
        while todo:
            results, ended = self._call(todo)
            if ended is None:
                no_file = VideoError("the program wrote no file for it", LOOK_AT)
                return found | {clip: results.get(clip, no_file) for clip in todo}
            found |= {clip: one for clip, one in results.items() if isinstance(one, np.ndarray)}
            left = [clip for clip in todo if clip not in found]
            if not left:
                log(f"{self.arguments[0]} {ended}, although it wrote features of all clips of that call.")
            elif len(todo) == 1:
                found[left.pop()] = VideoError(f"the program {ended}", LOOK_AT)
            else:
                found |= self.features([left.pop(0)])
            todo = left
        return found

    def _call(self, clips: Sequence[Clip]) -> tuple[dict[Clip, Found], str | None]:
        """Runs the program over clips; returns what it wrote, and how it failed."""
        with tempfile.TemporaryDirectory(prefix="slt-cache-") as folder, tempfile.TemporaryFile() as output:
            listed, out = Path(folder, "clips.tsv"), Path(folder, "features")
            out.mkdir()
            files = {clip: file for clip in clips if (file := _file(out, clip)) is not None}
            for file in files.values():
                file.parent.mkdir(parents=True, exist_ok=True)
            listed.write_text("".join(map(_line, files)), encoding="utf-8", errors="surrogateescape")
            ended = _run([*self.arguments, str(listed), str(out)], output) if files else None
            bad_name = VideoError("its id is no name of a file", "Give it another id in the manifest.")
            found: dict[Clip, Found] = {clip: bad_name for clip in clips if clip not in files}
            return found | {clip: self._read(file) for clip, file in files.items() if file.exists()}, ended

    def _read(self, file: Path) -> Found:
        try:
            features = np.load(file, allow_pickle=False)
            assert isinstance(features, np.ndarray), "not an array"
        except Exception as error:  # each kind of damage raises its own type
            return VideoError(f"{file.name} cannot be read ({' '.join(str(error).split())[:MOST_CHARACTERS]})", LOOK_AT)
        shape = list(features.shape)
        if features.ndim != 2 or not features.size or features.dtype.kind not in "fiu":
            return VideoError(f"{file.name} contains {features.dtype} {shape}, not numbers [N, C] with N >= 1", LOOK_AT)
        if self.dim not in (0, shape[1]):
            return VideoError(f"{file.name} contains {shape}, but C is {self.dim} in this cache", LOOK_AT)
        wrong = features.size - int(np.isfinite(features).sum())
        if wrong:
            return VideoError(f"{file.name} contains nan or inf in {wrong} of {features.size} values", LOOK_AT)
        with np.errstate(over="ignore"):  # infinite features are refused later, as those of any encoder
            return features.astype(np.float32)


def _length(clip: Clip, fps: float) -> ClipEnd | UnreadableVideo:
    """Returns the end of a clip, with its number of frames; decodes nothing."""
    try:
        with only_unreadable(clip):
            stream = open_frames(clip, 1, 0, fps)
        return ClipEnd(clip, 0, stream.num_frames, stream.fps, stream.notes)
    except UnreadableVideo as error:
        return error


def _events(clip: Clip, end: ClipEnd | UnreadableVideo | WorkerDied, found: Found | None) -> Iterator[Event]:
    if isinstance(end, ClipEnd) and isinstance(found, np.ndarray):
        yield torch.from_numpy(found)
        yield end
    elif isinstance(end, UnreadableVideo):
        yield end
    elif isinstance(found, VideoError):
        yield UnreadableVideo(clip.id, clip.video, found.reason, found.advice)
    else:
        yield UnreadableVideo(clip.id, clip.video, str(end))


def _file(folder: Path, clip: Clip) -> Path | None:
    """Returns the file that the program shall write for a clip; None if it would be outside the folder."""
    name = PurePosixPath(clip.id)
    if name.is_absolute() or ".." in name.parts or not name.parts:
        return None
    return folder / f"{clip.id}.npy"


def _line(clip: Clip) -> str:
    times = ("" if time is None else repr(time) for time in (clip.start, clip.end))
    box = [] if clip.box is None else [",".join(map(repr, clip.box))]
    return "\t".join([clip.id, str(clip.video.absolute()), *times, *box]) + "\n"


def _run(arguments: Sequence[str], output: IO[bytes]) -> str | None:
    """Runs a program; returns how it failed, with the last line that it printed, or None."""
    try:
        process = start_program(arguments, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    except OSError as error:
        return f"cannot be started ({error.strerror})"
    try:
        exitcode = process.wait()
    finally:  # also after Ctrl-C, which it does not receive
        end_program(process)
    if exitcode == 0:
        return None
    printed = " ".join(last_line(output).split())[:MOST_CHARACTERS]
    cause = likely_cause(exitcode).rstrip(".")
    return "".join([ending(exitcode), f": {printed}" if printed else "", f" ({cause})" if cause else ""])
