"""How2Sign (Duarte et al. 2021): how2sign_realigned_{train,val,test}.csv with the full videos, cut at the realigned
times, or with the ready-cut clips, which are reported to be misaligned."""

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar

from slt_cache.config import CorpusConfig
from slt_cache.corpora.base import SPLITS, Clip, Corpus, CorpusScan, Problems, SplitSize, count_by_split
from slt_cache.corpora.characters import nfc
from slt_cache.corpora.how2sign_rows import Row, read_rows
from slt_cache.corpora.media import VIDEO_SUFFIXES, ProgressCallback, measure, no_progress
from slt_cache.corpora.official import (
    ABSENT,
    ALSO_THERE,
    NO_ANNOTATION,
    UNNAMED,
    MediaFile,
    Sentence,
    add_issue,
    extremes,
    unreadable,
    usable,
)
from slt_cache.errors import InputError
from slt_cache.progress import progress_bar

FILE_NAMES = {"train": ("train",), "dev": ("val", "dev"), "test": ("test",)}
"""Names of the splits in its files."""
NOT_SEARCHED = ("openpose", "keypoints", "2d_keypoints", "json")
"""Beginnings and ends of the names of folders with millions of files and no video."""
PAST_END = "time past the end of the video (cut there)"
BEGINS_PAST_END = "begins past the end of the video (left out)"
READY_CUT = "ready-cut clip taken, the full video is missing or cannot be opened"


def read_how2sign(root: Path, clips_from: str = "auto", progress: ProgressCallback = no_progress) -> CorpusScan:
    """Reads the clips of the three splits. `clips_from`: videos (cut from the full videos), clips (ready-cut), auto
    (full videos if they exist, else clips). Raises InputError if no annotation is found or if a file is broken."""
    problems: Problems = {}
    files = sorted(_files(root), key=lambda path: (len(path.parts), str(path)))
    sources: list[Path] = []
    rows: list[tuple[Row, str]] = []
    for split in SPLITS:
        path = _annotation(files, split, problems)
        if path is not None:
            sources.append(path)
            rows += [(row, split) for row in read_rows(path, problems)]
    if not sources:
        raise InputError(
            f"{root}: no how2sign_realigned_train.csv, _val.csv or _test.csv in this folder or below. "
            "Name the folder of How2Sign."
        )
    sentences = [Sentence(row.clip, split, row.text, place=row.place) for row, split in rows]
    row_of = {sentence.place: row for sentence, (row, _) in zip(sentences, rows, strict=True)}
    kept = [(row_of[sentence.place], sentence) for sentence in usable(sentences, problems)]
    videos = _videos(files, problems)
    _list_unnamed(videos, (row for row, _ in rows), problems)
    clips = _clips(kept, videos, root, clips_from, problems, progress)
    lengths = {sentence.id: round(row.end - row.start, 3) for row, sentence in kept}
    found = {"annotation": [str(path) for path in sources], **_taken(clips)}
    return CorpusScan(clips, count_by_split(sentences), problems, {**found, **extremes(lengths, "seconds")}, sources)


def _files(root: Path) -> Iterator[Path]:
    """Yields annotation files and videos anywhere in the folder."""
    seen: set[str] = set()
    for place, folders, names in os.walk(root, onerror=_refuse, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = [
            name
            for name in folders
            if not name.lower().startswith(NOT_SEARCHED) and not name.lower().endswith(NOT_SEARCHED)
        ]
        for name in names:
            if name.lower().endswith(VIDEO_SUFFIXES) or name.startswith("how2sign_realigned_"):
                yield Path(place, name)


def _refuse(error: OSError) -> None:
    """Raises InputError, since an unreadable folder could hold anything."""
    raise unreadable(error) from error


def _annotation(files: list[Path], split: str, problems: Problems) -> Path | None:
    wanted = [f"how2sign_realigned_{name}.{suffix}" for name in FILE_NAMES[split] for suffix in ("csv", "tsv")]
    found = [path for path in files if path.name in wanted]
    if not found:
        add_issue(problems, NO_ANNOTATION, f"{split}: {wanted[0]}")
        return None
    if len(found) > 1:
        add_issue(problems, ALSO_THERE, ", ".join(map(str, found)))
    return found[0]


def _videos(files: list[Path], problems: Problems) -> dict[str, Path]:
    """Returns full videos and ready-cut clips by name, wherever they are; the names of the two differ."""
    videos: dict[str, Path] = {}
    for path in files:
        if path.suffix.lower() in VIDEO_SUFFIXES and videos.setdefault(nfc(path.stem), path) != path:
            add_issue(problems, ALSO_THERE, f"{videos[nfc(path.stem)]}, {path}")
    return videos


def _list_unnamed(videos: dict[str, Path], rows: Iterable[Row], problems: Problems) -> None:
    named = {name for row in rows for name in (row.video, row.clip)}
    add_issue(problems, UNNAMED, sorted(name for name in videos if name not in named))


def _clips(
    rows: list[tuple[Row, Sentence]],
    videos: dict[str, Path],
    root: Path,
    clips_from: str,
    problems: Problems,
    progress: ProgressCallback,
) -> list[Clip]:
    full = {row.video: videos[row.video] for row, _ in rows if row.video in videos and clips_from != "clips"}
    media = measure(full.values(), problems, progress)
    if clips_from == "auto":
        ready = {row.video for row, _ in rows if row.clip in videos}
        full = {name: path for name, path in full.items() if name not in ready or media[path].seconds is not None}
    clips: list[Clip] = []
    for split in SPLITS:
        of_split = [(row, sentence) for row, sentence in rows if sentence.split == split]
        found: list[Clip] = []
        for row, sentence in of_split:
            if row.video in full:
                found += _cut(row, sentence, media[full[row.video]], problems)
            elif row.clip in videos and clips_from != "videos":
                found.append(Clip(sentence.id, split, videos[row.clip], None, None, sentence.text))
                if clips_from == "auto" and media:
                    add_issue(problems, READY_CUT, sentence.id)
            else:
                add_issue(problems, ABSENT, sentence.id)
        # the annotation alone: imported features need no videos
        clips += found or [
            Clip(sentence.id, split, root / f"{sentence.id}.mp4", None, None, sentence.text) for _, sentence in of_split
        ]
    return clips


def _cut(row: Row, sentence: Sentence, medium: MediaFile, problems: Problems) -> list[Clip]:
    """Returns the clip; none if it begins after the end of the video."""
    seconds = medium.seconds
    if seconds is not None and row.start >= seconds:
        add_issue(problems, BEGINS_PAST_END, f"{sentence.id}: begins at {row.start} s of {seconds:.2f} s")
        return []
    if seconds is not None and row.end > seconds:
        add_issue(problems, PAST_END, f"{sentence.id}: ends at {row.end} s of {seconds:.2f} s")
    return [Clip(sentence.id, sentence.split, medium.path, row.start, row.end, sentence.text)]


def _taken(clips: list[Clip]) -> dict[str, Any]:
    cut = sum(clip.start is not None for clip in clips)
    return {"cut_from_full_videos": cut, "ready_cut": len(clips) - cut}


class How2Sign(Corpus):
    """How2Sign. Rows are those of how2sign_realigned_{train,val,test}.csv, ready-cut clips as Duarte et al. 2021
    distribute them; the paper counts one less than the rows of each split and does not say which. Frames are estimated
    from its hours at 24 frames a second."""

    config = "how2sign"
    root_holds = "How2Sign"
    compares_bytes = True
    preset = "how2sign"
    published: ClassVar = {
        "train": SplitSize(31_165, frames=5_064_000, ready_cut=31_048, in_paper=31_164),
        "dev": SplitSize(1_741, frames=282_800, ready_cut=1_739, in_paper=1_740),
        "test": SplitSize(2_357, frames=382_900, ready_cut=2_343, in_paper=2_356),
    }

    def read(self, settings: CorpusConfig, folder: Path, may_replace: Callable[[], bool]) -> CorpusScan:
        with progress_bar("checking videos") as progress:
            return read_how2sign(folder, settings.clips_from, progress)

    def language_code(self, settings: CorpusConfig) -> str | None:
        return "en_XX"


CORPUS: Corpus = How2Sign()
