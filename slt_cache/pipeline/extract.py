"""The frozen encoder over every clip of a split, once: videos in, feature cache out."""

import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import islice
from pathlib import Path

from tqdm import tqdm

from slt_cache import __version__
from slt_cache.batches.clip_batches import ClipFrames
from slt_cache.checkpoints.visual import VisualCheckpoint, load_visual, require_visual
from slt_cache.corpora.clips import SPLITS, Clip, of_split
from slt_cache.decoding.encode import encode, read_clips
from slt_cache.device import pick_device
from slt_cache.errors import InputError
from slt_cache.features.cache import FeatureCache, cached_splits
from slt_cache.features.spec import FeatureSpec
from slt_cache.features.writing import ClipFeatures, Failure, Parts, SplitFacts, assemble, parts_folder
from slt_cache.pipeline.feature_spec import feature_spec
from slt_cache.pipeline.prepare import ensure_clips, manifest_sha256, require_split
from slt_cache.pipeline.run import Run
from slt_cache.video.frames import UnreadableVideo


@dataclass(frozen=True)
class Extraction:
    """What became of one split."""

    features: Path
    split: str
    clips: int
    """Clips with features."""
    frames: int
    """Kept frames that went through the encoder, this time and before."""
    seconds: float
    """Of this call; next to nothing where the split was there already."""
    failed: tuple[Failure, ...]
    fresh: bool
    """Whether this call wrote the split."""


def splits_to_extract(run: Run, asked: str) -> list[str]:
    """One split, or for `all` those that have clips. Raises InputError before anything is made."""
    if asked not in (*SPLITS, "all"):
        raise InputError(f"--split {asked}: no such split. Use {', '.join(SPLITS)} or all.")
    require_visual(run.visual / "best")
    clips = ensure_clips(run)
    if asked == "all":
        return [split for split in SPLITS if of_split(clips, split)]
    require_split(run, clips, asked)
    return [asked]


def extract(run: Run, split: str, cache: Path) -> Extraction:
    """Writes the split's features into `cache`, beside the splits that it holds. Goes on where a killed extraction
    left off. Raises InputError where the cache holds features of another encoder."""
    checkpoint = load_visual(run.visual / "best")
    clips = of_split(ensure_clips(run), split)
    facts = _facts(run, checkpoint, split, clips)
    _require_fitting(cache, facts.spec)
    begun = time.monotonic()
    held = _held(cache, facts)
    if held is not None:
        return _outcome(held, cache, begun, None)
    parts = Parts(cache, facts)
    size = run.config.features.clips_per_part
    stretches = [clips[first : first + size] for first in range(0, len(clips), size)]
    _write_missing_parts(run, checkpoint, parts, stretches)
    failed = assemble(cache, parts, len(stretches))
    parts.remove()
    return _outcome(FeatureCache(cache, split), cache, begun, failed)


def forget(cache: Path) -> None:
    """Deletes a cache and its part files, for an extraction that begins anew."""
    cache.unlink(missing_ok=True)
    shutil.rmtree(parts_folder(cache), ignore_errors=True)


def _facts(run: Run, checkpoint: VisualCheckpoint, split: str, clips: Sequence[Clip]) -> SplitFacts:
    return SplitFacts(
        split=split,
        spec=feature_spec(checkpoint, run.config.features),
        corpus=run.config.corpus.name,
        language=run.config.language_code,
        manifest_sha256=manifest_sha256(clips),
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        tool=f"slt-cache {__version__}",
    )


def _require_fitting(cache: Path, spec: FeatureSpec) -> None:
    """All splits of a file come from the same encoder, or none of them could be used together."""
    if cache.exists():
        for split in cached_splits(cache):
            FeatureCache(cache, split).require_spec(spec)


def _held(cache: Path, facts: SplitFacts) -> FeatureCache | None:
    """The split, where the cache holds it whole and of the same manifest."""
    if not cache.exists() or facts.split not in cached_splits(cache):
        return None
    held = FeatureCache(cache, facts.split)
    return held if held.complete and held.attributes["manifest_sha256"] == facts.manifest_sha256 else None


def _write_missing_parts(
    run: Run, checkpoint: VisualCheckpoint, parts: Parts, stretches: Sequence[Sequence[Clip]]
) -> None:
    missing = [
        number for number, clips in enumerate(stretches) if not parts.is_whole(number, [clip.id for clip in clips])
    ]
    todo = [clip for number in missing for clip in stretches[number]]
    video, workers = checkpoint.video, run.config.compute.workers
    device = pick_device(run.config.compute.device)
    checkpoint.model.to(device)
    done = sum(len(clips) for clips in stretches) - len(todo)
    what = f"extracting {parts.facts.split}"
    total = done + len(todo)
    with tqdm(desc=what, total=total, initial=done, unit="clip", leave=False, disable=None) as bar:
        items = read_clips(todo, video, workers)
        for number in missing:
            failures: list[Failure] = []
            clips = _readable(islice(items, len(stretches[number])), failures)
            rows: list[ClipFeatures] = []
            for batch in encode(
                checkpoint.model,
                clips,
                level=parts.facts.spec.level,
                dtype=parts.facts.spec.dtype,
                batch_frames=run.config.features.batch_frames,
                device=device,
            ):
                steps = batch.features.cpu().split(batch.lengths.tolist())
                for clip, num_frames, features in zip(batch.clips, batch.num_frames, steps, strict=True):
                    rows.append(ClipFeatures(clip.id, clip.text, num_frames, features.numpy()))
                bar.update(len(batch.clips))
            parts.write(number, rows, failures)
            bar.update(len(failures))


def _readable(items: Iterator[ClipFrames | UnreadableVideo], failures: list[Failure]) -> Iterator[ClipFrames]:
    """Lets readable clips through and writes down the others."""
    for item in items:
        if isinstance(item, UnreadableVideo):
            failures.append(Failure(item.clip_id, item.reason))
        else:
            yield item


def _outcome(held: FeatureCache, cache: Path, begun: float, failed: list[Failure] | None) -> Extraction:
    """`failed` is None where the split was there already."""
    return Extraction(
        features=cache,
        split=held.split,
        clips=len(held),
        frames=int(held.offsets[-1]),
        seconds=time.monotonic() - begun,
        failed=tuple(failed or ()),
        fresh=failed is not None,
    )
