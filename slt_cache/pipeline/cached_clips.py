"""Comparison of a feature cache with the run's manifest: clips, times, sentences and videos."""

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
"""Largest number of clips that a message names."""


def require_manifest(run: Run, cached: FeatureCache) -> None:
    """Raises InputError for a cache whose clips, times or sentences differ from the run's manifest, and logs how many
    videos changed since they were read. Without a manifest all caches pass. Unknown values of imported features, such
    as times, are not compared."""
    if not run.manifest.is_file():
        return
    clips = of_split(ensure_clips(run), cached.split)
    again = run.command("extract-features", split=cached.split, features=_named(run, cached.path))
    found = _differences(cached, clips)
    if found:
        raise InputError(
            f"{cached.path}: the clips or sentences of {cached.split} are not those of {run.manifest}: "
            f"{'; '.join(found)}. Extract again, which only reads what is new: {again}"
        )
    known = dict(zip(cached.ids, cached.sources, strict=True))
    changed = [clip.id for clip in clips if known.get(clip.id) and has_changed(clip.video, known[clip.id])]
    if changed:
        log(f"{cached.path}: {counted(changed, 'has a video', 'have videos')} that changed since; read again: {again}")


def _named(run: Run, cache: Path) -> Path | None:
    """Returns the cache as an option of a command; None for the run's own."""
    return None if cache == run.features else cache


def _differences(cached: FeatureCache, clips: Sequence[Clip]) -> list[str]:
    """Returns the differences between manifest and cache for a split; the order of clips is ignored."""
    texts, known = (dict(zip(cached.ids, values, strict=True)) for values in (cached.texts, cached.sources))
    origins = dict(zip(cached.ids, cached.origins, strict=True))
    missing = {failure.clip_id for failure in cached.missing}
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
        ("has another corpus or language", "have other corpora or languages"): [
            clip.id for clip in there if clip.origin != origins[clip.id]
        ],
        ("has other times or another box", "have other times or boxes"): [
            clip.id for clip in there if known[clip.id] and known[clip.id].partition(" ")[2] != times_of(clip)
        ],
    }
    return [counted(ids, *words) for words, ids in kinds.items() if ids]


def counted(ids: Sequence[str], one: str, several: str) -> str:
    """Returns `3 clips VERB (a, b, c)`, naming the first few."""
    more = ", ..." if len(ids) > MAX_NAMED else ""
    named = ", ".join(map(repr, ids[:MAX_NAMED]))
    return f"{len(ids):,} {'clip' if len(ids) == 1 else 'clips'} {one if len(ids) == 1 else several} ({named}{more})"
