"""Sentences with times in, clips out: cut from the full videos, or taken from files that hold one clip each. For
corpora whose videos are found by name."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from slt_cache.corpora.base import SPLITS, Box, Clip, CorpusScan, Problems, count_by_split
from slt_cache.corpora.lengths import measure
from slt_cache.corpora.official import ABSENT, UNNAMED, MediaFile, Sentence, add_issue, extremes, usable
from slt_cache.progress import progress_bar

PAST_END = "time past the end of the video (cut there)"
BEGINS_PAST_END = "begins past the end of the video (left out)"
READY_CUT = "ready-cut clip taken, the full video is missing or cannot be opened"


@dataclass(frozen=True, slots=True)
class Cut:
    """One sentence of the annotation, with the names under which its video may lie."""

    sentence: Sentence
    start: float | None = None
    """Beginning in the full video, in seconds; None if only ready-cut clips are published."""
    end: float | None = None
    """End in the full video, in seconds."""
    full: str = ""
    """Name of the full video without suffix; empty if there is none."""
    box: Box | None = None
    """Part of the full video's frames that shows the signer."""
    ready: tuple[str, ...] = ()
    """Names of the ready-cut clip without suffix, in order of preference."""


def scan_cuts(
    cuts: Sequence[Cut],
    videos: Mapping[str, Path],
    problems: Problems,
    sources: Sequence[Path],
    root: Path,
    clips_from: str = "auto",
) -> CorpusScan:
    """Finds the videos of all sentences; `videos` are by name. `clips_from`: videos (cut from the full videos), clips
    (ready-cut), auto (full videos if they exist, else clips)."""
    usable_cuts = list(_usable(cuts, problems))
    named = {name for cut in cuts for name in (cut.full, *cut.ready)}
    add_issue(problems, UNNAMED, sorted(name for name in videos if name not in named))
    clips, media = _clips(usable_cuts, videos, root, clips_from, problems)
    lengths = {
        cut.sentence.id: round(cut.end - cut.start, 3)
        for cut in usable_cuts
        if cut.start is not None and cut.end is not None
    }
    found = {"annotation": [str(path) for path in sources], **_taken(clips)}
    named_rows = count_by_split(cut.sentence for cut in cuts)
    findings = {**found, **extremes(lengths, "seconds")}
    return CorpusScan(clips, named_rows, problems, findings, list(sources), media=media)


def _usable(cuts: Iterable[Cut], problems: Problems) -> Iterator[Cut]:
    """Yields the cuts whose sentences a manifest can hold; unchanged ones are not copied, since there may be
    millions."""
    sentences = iter(usable((cut.sentence for cut in cuts), problems))
    wanted = next(sentences, None)
    for cut in cuts:
        if wanted is not None and (wanted.id, wanted.place) == (cut.sentence.id, cut.sentence.place):
            yield cut if wanted is cut.sentence else replace(cut, sentence=wanted)
            wanted = next(sentences, None)


def _clips(
    cuts: list[Cut], videos: Mapping[str, Path], root: Path, clips_from: str, problems: Problems
) -> tuple[list[Clip], dict[Path, MediaFile]]:
    """Returns the clips, and the lengths of the full videos."""
    ready = {cut.sentence.id: videos[name] for cut in cuts for name in reversed(cut.ready) if name in videos}
    full = {cut.full: videos[cut.full] for cut in cuts if cut.full in videos and clips_from != "clips"}
    with progress_bar("checking videos") as progress:
        media = measure(full.values(), problems, progress)
    if clips_from == "auto":
        cut_already = {cut.full for cut in cuts if cut.sentence.id in ready}
        full = {name: path for name, path in full.items() if name not in cut_already or media[path].seconds is not None}
    clips: list[Clip] = []
    for split in SPLITS:
        found: list[Clip] = []
        of_split = [cut for cut in cuts if cut.sentence.split == split]
        has_videos = False
        for cut in of_split:
            sentence = cut.sentence
            has_videos = has_videos or cut.full in full or sentence.id in ready
            if cut.full in full:
                found += _cut(cut, media[full[cut.full]], problems)
            elif sentence.id in ready and clips_from != "videos":
                found.append(_clip(sentence, ready[sentence.id]))
                add_issue(problems, READY_CUT, sentence.id if clips_from == "auto" and media else [])
            else:
                add_issue(problems, ABSENT, sentence.id)
        # the annotation alone: imported features need no videos
        clips += found if has_videos else [_clip(cut.sentence, root / f"{cut.sentence.id}.mp4") for cut in of_split]
    return clips, media


def _clip(sentence: Sentence, video: Path, start: float | None = None, end: float | None = None) -> Clip:
    return Clip(sentence.id, sentence.split, video, start, end, sentence.text, sentence.signer)


def _cut(cut: Cut, medium: MediaFile, problems: Problems) -> list[Clip]:
    """Returns the clip; none if it begins after the end of the video."""
    seconds, start, end, clip_id = medium.seconds, cut.start, cut.end, cut.sentence.id
    if seconds is not None and start is not None and start >= seconds:
        add_issue(problems, BEGINS_PAST_END, f"{clip_id}: begins at {start} s of {seconds:.2f} s")
        return []
    if seconds is not None and end is not None and end > seconds:
        add_issue(problems, PAST_END, f"{clip_id}: ends at {end} s of {seconds:.2f} s")
    clip = _clip(cut.sentence, medium.path, start, end)
    return [clip if cut.box is None else replace(clip, box=cut.box)]


def _taken(clips: Iterable[Clip]) -> dict[str, Any]:
    cut = [clip.start is not None for clip in clips]
    return {"cut_from_full_videos": sum(cut), "ready_cut": len(cut) - sum(cut)}
