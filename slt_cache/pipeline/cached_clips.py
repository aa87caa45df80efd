"""Whether a feature cache holds the clips of the run's manifest, with the same times, sentences and videos."""

from collections.abc import Sequence
from pathlib import Path

from slt_cache.corpora.base import Clip, of_split
from slt_cache.corpora.fingerprint import has_changed, times_of
from slt_cache.errors import InputError
from slt_cache.features.cache import FeatureCache
from slt_cache.pipeline.prepare import ensure_clips
from slt_cache.progress import log
from slt_cache.runs.run import Run

MAX_NAMED = 3
"""Clips in a message."""


def require_manifest(run: Run, held: FeatureCache) -> None:
    """Raises InputError for a cache whose clips, times or sentences are not those of the run's manifest, and logs how
    many videos have changed since they were read. Without a manifest all caches pass. What is unknown of imported
    features, such as times, is not compared."""
    if not run.manifest.is_file():
        return
    clips = of_split(ensure_clips(run), held.split)
    again = run.command("extract-features", split=held.split, features=_named(run, held.path))
    found = _differences(held, clips)
    if found:
        raise InputError(
            f"{held.path}: the clips or sentences of {held.split} are not those of {run.manifest}: {'; '.join(found)}. "
            f"Extract again, which reads only what is new: {again}"
        )
    known = dict(zip(held.ids, held.sources, strict=True))
    changed = [clip.id for clip in clips if known.get(clip.id) and has_changed(clip.video, known[clip.id])]
    if changed:
        log(f"{held.path}: {counted(changed, 'has a video', 'have videos')} that changed since; read again: {again}")


def _named(run: Run, cache: Path) -> Path | None:
    """Returns the cache as a command has to name it; None for the run's own."""
    return None if cache == run.features else cache


def _differences(held: FeatureCache, clips: Sequence[Clip]) -> list[str]:
    """Returns in what the manifest and the cache disagree about the clips of a split; their order may differ."""
    texts, known = (dict(zip(held.ids, values, strict=True)) for values in (held.texts, held.sources))
    missing = {failure.clip_id for failure in held.missing}
    named = {clip.id for clip in clips}
    there = [clip for clip in clips if clip.id in texts]
    kinds = {
        ("is not in the cache", "are not in the cache"): [
            clip.id for clip in clips if clip.id not in texts and clip.id not in missing
        ],
        ("is no longer in the manifest", "are no longer in the manifest"): [
            clip_id for clip_id in texts if clip_id not in named
        ],
        ("has another sentence", "have other sentences"): [clip.id for clip in there if clip.text != texts[clip.id]],
        ("has other times", "have other times"): [
            clip.id for clip in there if known[clip.id] and known[clip.id].partition(" ")[2] != times_of(clip)
        ],
    }
    return [counted(ids, *words) for words, ids in kinds.items() if ids]


def counted(ids: Sequence[str], one: str, several: str) -> str:
    """Returns `3 clips VERB (a, b, c)`, with the names of the first few."""
    more = ", ..." if len(ids) > MAX_NAMED else ""
    named = ", ".join(map(repr, ids[:MAX_NAMED]))
    return f"{len(ids):,} {'clip' if len(ids) == 1 else 'clips'} {one if len(ids) == 1 else several} ({named}{more})"
