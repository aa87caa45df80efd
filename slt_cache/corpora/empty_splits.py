"""Splits of a corpus that differ from the published ones, and those that no training can use: without a clip, or
without a clip whose video exists. Also whether that is the fault of the annotation, of which rows were left out or
which names other videos than those on disk."""

from collections.abc import Iterable, Mapping, Sequence

from slt_cache.corpora.base import Clip, Corpus, CorpusScan, SplitSize, of_split
from slt_cache.corpora.caption_files import UNREADABLE_FILE
from slt_cache.corpora.characters import is_there
from slt_cache.corpora.cuts import BEGINS_PAST_END
from slt_cache.corpora.official import EMPTY_SENTENCE, NAMED_BY, NAMED_TWICE, UNNAMED, UNREADABLE_ROW

LEFT_OUT = (UNREADABLE_ROW, UNREADABLE_FILE, EMPTY_SENTENCE, NAMED_TWICE, BEGINS_PAST_END, NAMED_BY)
"""Beginnings of the kinds of problems for which clips are left out."""


def unusable_splits(corpus: Corpus, scan: CorpusScan) -> list[str]:
    """Returns the splits of an official corpus in which no clip has a video; if it publishes no sizes of its splits,
    all that it names, once no video exists at all."""
    if corpus.is_own:
        return []
    if not corpus.published:
        none = not any(is_there(clip.video) for clip in scan.clips)
        return [split for split, rows in scan.named.items() if rows and none]
    return [
        split for split in corpus.published if not any(is_there(clip.video) for clip in of_split(scan.clips, split))
    ]


def faults_of_annotation(scan: CorpusScan, unusable: Iterable[str]) -> list[str]:
    """Returns the kinds of problems with the annotation because of which one of these splits cannot be used; empty if
    its videos are not on disk, or if the annotation names no clip of it."""
    return sorted({kind for split in unusable for kind in _faults(scan, split, of_split(scan.clips, split))})


def _faults(scan: CorpusScan, split: str, clips: Sequence[Clip]) -> list[str]:
    if not clips:
        return [kind for kind in scan.problems if kind.startswith(LEFT_OUT)]
    unnamed = [name for name in scan.problems.get(UNNAMED, []) if "/" not in name or name.startswith(f"{split}/")]
    return [UNNAMED] if len(unnamed) >= len(clips) else []


def deviations(published: Mapping[str, SplitSize], named: dict[str, int], counts: dict[str, int]) -> list[str]:
    """Returns the splits whose number of rows or clips differs from the published one."""
    lines: list[str] = []
    for split, size in published.items():
        if named[split] != size.rows or counts[split] not in size.numbers:
            here = f"{counts[split]:,} clips of {named[split]:,} rows"
            lines.append(f"{split}: {here}; published are {size}")
    return lines
