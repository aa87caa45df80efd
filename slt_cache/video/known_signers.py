"""The boxes of the signers of a corpus, found once: those that were found are kept in the run folder, so that a run of
`prepare` that was interrupted resumes, and another one finds only what is new."""

import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from slt_cache.corpora.base import Box, Clip, Problems
from slt_cache.corpora.characters import is_there
from slt_cache.corpora.manifest import boxed, parsed_box
from slt_cache.corpora.official import add_issue
from slt_cache.errors import InputError
from slt_cache.hashes import read_signed, write_signed
from slt_cache.holistic.child import require_mediapipe
from slt_cache.progress import log, progress_bar
from slt_cache.video.signer import signer_boxes
from slt_cache.video.stream import UnreadableVideo

SIGNERS_FILE = "signers.json"
RULE = 1
"""Version of the rule, which changes with the boxes that it gives."""
NO_PERSON = "no person found (whole frames are read)"
UNREADABLE = "signer cannot be found (whole frames are read)"
SHARE_OF_SAVING = 0.05
"""Largest share of the time that is spent on saving."""


def with_signers(folder: Path, clips: Sequence[Clip], python: str | None, workers: int) -> tuple[list[Clip], Problems]:
    """Returns the clips with the boxes of their signers, and those clips in which none was found. Boxes that clips have
    already stay. `folder` is the run's; `python` is an interpreter with MediaPipe, None for this process's own. Raises
    InputError where there is none, and boxes are to be found."""
    known = _Known(folder / SIGNERS_FILE)
    keys = {clip.id: _key(clip) for clip in clips if clip.box is None and is_there(clip.video)}
    problems: Problems = {}
    if any(key not in known.boxes for key in keys.values()):
        known.require(asdict(require_mediapipe(python, "--find-signer")))
        todo = [clip for clip in clips if clip.id in keys and keys[clip.id] not in known.boxes]
        with progress_bar("finding signers", "clip", total=len(todo)) as show:
            try:
                for done, (clip, box) in enumerate(
                    zip(todo, signer_boxes(todo, python, workers), strict=True), start=1
                ):
                    if isinstance(box, UnreadableVideo):
                        add_issue(problems, UNREADABLE, f"{clip.id} ({clip.video}): {box.reason}")
                    else:
                        known.add(keys[clip.id], box)
                    show(done, len(todo))
            finally:
                known.save()
    found = {clip_id: known.boxes[key] for clip_id, key in keys.items() if key in known.boxes}
    for clip in clips:
        if clip.id in found and found[clip.id] is None:
            add_issue(problems, NO_PERSON, f"{clip.id} ({clip.video})")
    log(f"signers found in {sum(box is not None for box in found.values()):,} of {len(keys):,} clips without a box")
    return [replace(clip, box=found.get(clip.id, clip.box)) for clip in clips], problems


def _key(clip: Clip) -> str:
    """Returns what a clip is taken of: the video, with its size and modification time, and the segment."""
    status = clip.video.stat()
    return f"{clip.start} {clip.end} {status.st_size} {status.st_mtime_ns} {clip.video.absolute()}"


class _Known:
    """Boxes that earlier calls found, None where there was no person."""

    def __init__(self, path: Path):
        self._path = path
        self._found_by: dict[str, Any] = {}
        self.boxes: dict[str, Box | None] = {}
        try:
            saved = read_signed(path)
            if saved["rule"] == RULE:
                self.boxes = {str(key): parsed_box(box) if box else None for key, box in saved["boxes"].items()}
                self._found_by = dict(saved["found_by"])
        except (InputError, ValueError, KeyError, TypeError, AttributeError):
            pass  # absent or damaged: all are found again
        self._saved, self._pause = time.monotonic(), 1.0

    def require(self, found_by: dict[str, Any]) -> None:
        """Forgets boxes that another MediaPipe found."""
        if self.boxes and self._found_by != found_by:
            log("another MediaPipe than before: all signers are found again")
            self.boxes = {}
        self._found_by = found_by

    def add(self, key: str, box: Box | None) -> None:
        """Adds a box, and saves all now and then."""
        self.boxes[key] = box
        if time.monotonic() - self._saved > self._pause:
            self.save()

    def save(self) -> None:
        begun = time.monotonic()
        boxes = {key: boxed(box) for key, box in self.boxes.items()}
        write_signed(self._path, {"rule": RULE, "found_by": self._found_by, "boxes": boxes})
        self._saved = time.monotonic()
        self._pause = max(1.0, (self._saved - begun) / SHARE_OF_SAVING)
