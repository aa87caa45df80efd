"""A corpus of the user's own, a folder with manifest.tsv: its clips, and everything that would stop a training or spoil
its scores, each with the number of its line. Opens no video itself."""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from slt_cache.config import CorpusConfig
from slt_cache.corpora.base import SPLITS, Clip
from slt_cache.corpora.characters import doubtful, is_there
from slt_cache.corpora.manifest import COLUMNS, BadLines, OwnManifest, bad_lines, read_own_manifest
from slt_cache.corpora.official import BREAK_REPLACED, CorpusScan, Problems, count_by_split
from slt_cache.corpora.own_table import lines_named
from slt_cache.errors import InputError
from slt_cache.runs.run import Run

SOURCE_MANIFEST = "manifest.tsv"
"""Name of one's own manifest in corpus.root."""
TABLE_SUFFIXES = (".tsv", ".csv", ".txt", ".xlsx", ".xls", ".ods")
MAX_LINES = 200
"""Bad lines in an error."""
ABSENT = "video not found"
UNREADABLE = "video that cannot be read"
PAST_END = "ends after its video does"
EMPTY_SPLIT = "split without a clip"
TOO_LONG = "sentence longer than the LLM"
LANGUAGE = "language"
TOO_MANY_STEPS = "clip longer than the LLM"
TO_CORRECT = (ABSENT, UNREADABLE, PAST_END, EMPTY_SPLIT, TOO_LONG, TOO_MANY_STEPS, LANGUAGE)
"""Kinds of problems that a training would meet; the others spoil no training."""
QUOTES_TAKEN_OFF = "quotes of csv, taken off"
QUOTES_KEPT = "values that look quoted (kept as they are)"


@dataclass(frozen=True)
class Looked:
    """What opening the videos of clips has shown."""

    unreadable: Sequence[tuple[Clip, str]] = ()
    """Clips that cannot be read, and why."""
    past_end: Sequence[tuple[Clip, str]] = ()
    """Clips that end after their video does, and where."""
    num_frames: Mapping[str, int] = field(default_factory=dict)
    """T of each clip that can be read."""


Look = Callable[[Sequence[Clip]], Looked]


def read_own(run: Run, corpus: CorpusConfig, look: Look | None) -> CorpusScan:
    """The clips of corpus.root/manifest.tsv, and what is wrong with them; videos are opened if there is a `look`.

    Raises InputError that names all bad lines, absent videos among them."""
    path = _source(run, corpus)
    manifest = _read(path)
    clips = manifest.clips
    lines = {clip.id: number for number, clip in manifest.numbered}
    present = [clip for clip in clips if is_there(clip.video)]
    looked = Looked() if look is None else look(present)
    problems = {
        ABSENT: [_place(number, clip) for number, clip in absent(manifest.numbered)],
        UNREADABLE: [f"{_place(lines[clip.id], clip)}: {reason}" for clip, reason in looked.unreadable],
        PAST_END: [f"{_place(lines[clip.id], clip)}: {reason}" for clip, reason in looked.past_end],
        TOO_MANY_STEPS: [f"line {lines[clip_id]}: {clip_id}: {many}" for clip_id, many in _too_many(run, looked)],
        EMPTY_SPLIT: [split for split in SPLITS if not any(clip.split == split for clip in clips)],
        "same video and start on several lines": _repeated(manifest.numbered),
        QUOTES_TAKEN_OFF: [f"line {number}" for number in manifest.unquoted],
        QUOTES_KEPT: [f"line {number}" for number in manifest.doubtful],
        BREAK_REPLACED: [f"line {number}" for number in manifest.broken],
        **doubtful((f"line {number}: {clip.id}", clip.text) for number, clip in manifest.numbered),
    }
    found: Problems = {kind: entries for kind, entries in problems.items() if entries}
    return CorpusScan(clips, count_by_split(clips), {}, found, {}, [path])


def _too_many(run: Run, looked: Looked) -> list[tuple[str, str]]:
    """Clips of more kept frames than the LLM has positions."""
    from slt_cache.pipeline.fits_llm import positions_of  # brings torch

    every, positions = run.config.video.keep_every, positions_of(run.config.llm.name)
    steps = {clip_id: math.ceil(frames / every) for clip_id, frames in looked.num_frames.items()}
    return [
        (clip_id, f"{many:,} kept frames, too many for the LLM's {positions:,} positions")
        for clip_id, many in steps.items()
        if positions is not None and many > positions
    ]


def absent(numbered: Sequence[tuple[int, Clip]]) -> list[tuple[int, Clip]]:
    """The clips whose video is not there, with their lines."""
    return [(number, clip) for number, clip in numbered if not is_there(clip.video)]


def _place(number: int, clip: Clip) -> str:
    return f"line {number}: {clip.id} ({clip.video})"


def _source(run: Run, corpus: CorpusConfig) -> Path:
    if corpus.root is None:
        raise InputError(
            f"corpus.root: not set. Name the folder of manifest.tsv: {run.command('prepare tsv', root='DIR')}"
        )
    root = Path(corpus.root)
    if root.is_file():
        raise InputError(f"corpus.root {root}: a file. Name the folder that holds {SOURCE_MANIFEST}.")
    if not root.is_dir():
        raise InputError(f"corpus.root {root}: there is no such folder. Name the folder that holds {SOURCE_MANIFEST}.")
    if not (root / SOURCE_MANIFEST).exists():
        tables = sorted(path.name for path in root.iterdir() if path.suffix.lower() in TABLE_SUFFIXES)
        found = f"found: {', '.join(tables[:5])}; " if tables else ""
        raise InputError(
            f"{root / SOURCE_MANIFEST}: there is no such file ({found}expected: UTF-8 text, tab-separated, a line for "
            f"each clip under the header {' '.join(COLUMNS)})."
        )
    return root / SOURCE_MANIFEST


def _read(path: Path) -> OwnManifest:
    try:
        return read_own_manifest(path)
    except BadLines as error:
        wrong = [(number, f"video not found: {clip.video}") for number, clip in absent(error.clips)]
        lines = [f"  line {number}: {problem}" for number, problem in sorted([*error.problems, *wrong])]
        more = f"  ... and {len(lines) - MAX_LINES:,} more" if len(lines) > MAX_LINES else ""
        quoted = f"Values look quoted on {lines_named(error.doubtful)}." if error.doubtful else ""
        found = [f"{path}: {bad_lines(len(lines))}:", *lines[:MAX_LINES], more, quoted]
        raise InputError("\n".join(filter(None, found))) from error


def _repeated(numbered: Sequence[tuple[int, Clip]]) -> list[str]:
    counts = Counter((clip.video, clip.start) for _, clip in numbered)
    lines: dict[tuple[Path, float | None], list[int]] = {key: [] for key, count in counts.items() if count > 1}
    for number, clip in numbered:
        if (clip.video, clip.start) in lines:
            lines[clip.video, clip.start].append(number)
    return [f"lines {', '.join(map(str, numbers))}: {video}" for (video, _), numbers in lines.items()]
