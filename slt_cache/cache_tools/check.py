"""Checks that a feature cache is undamaged, matches a run, and holds what its encoder computes from the videos. Changes
nothing."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from slt_cache.cache_tools.inspect import verify_cache
from slt_cache.config import AugmentationConfig
from slt_cache.corpora.base import Clip, of_split
from slt_cache.decoding.encode import EncodedClip, encode
from slt_cache.device import pick_device
from slt_cache.errors import InputError
from slt_cache.features.cache import FeatureCache, open_splits
from slt_cache.features.file import CacheFile
from slt_cache.features.spec import IMPORTED
from slt_cache.pipeline.encoder import differs_from, extractor_of, frozen_encoder, of_dim, reader_of
from slt_cache.pipeline.feature_spec import asked_spec, open_features
from slt_cache.pipeline.prepare import ensure_clips
from slt_cache.pipeline.run_corpus import require_corpus
from slt_cache.progress import progress_counter
from slt_cache.runs.run import Run
from slt_cache.video.chunks import ClipView
from slt_cache.video.reader_pool import read_ahead

TOLERANCE = 0.01
"""Largest norm(live - cached) / norm(cached) of a clip; rounding to float16 alone causes about 0.0003."""


@dataclass(frozen=True)
class Check:
    """Result of a comparison."""

    problems: tuple[str, ...]
    """One line each; empty for a good cache."""
    compared: int = 0
    """Clips that were extracted again, each with all of its views."""
    largest_error: float | None = None
    """Largest relative error of all clips extracted again; None if there are none."""


def _check_against_run(file: CacheFile, run: Run) -> list[str]:
    """Returns one line for each split whose features, clips or sentences do not match the run. Raises InputError if the
    run folder does not exist."""
    if not run.folder.is_dir():
        raise InputError(f"{run.folder}: no such run folder. Name another with --run.")
    asked = asked_spec(run)
    problems = []
    for split in file.splits:
        try:
            open_features(run, file, split, asked)
        except InputError as error:
            problems.append(str(error))
    return problems


def check_cache(cache: Path, run: Run | None = None, clips: int = 0) -> Check:
    """Compares every byte with its checksum; given a run, also spec and clips with those of the run, and `clips` clips
    of each split with what its encoder computes from their videos, unless the file is damaged.

    Raises InputError if the file does not exist, or if the run lacks what is needed."""
    file, problems = verify_cache(cache)
    if file is None or problems or run is None:
        return Check(tuple(problems))
    problems = _check_against_run(file, run)
    errors: list[float] = []
    if clips:
        for features in open_splits(file).values():
            for line, error in _compare(features, run, clips):
                errors += [error] if error is not None else []
                problems += [line] if line else []
    return Check(tuple(problems), len(errors), max(errors, default=None))


def _compare(features: FeatureCache, run: Run, count: int) -> Iterator[tuple[str, float | None]]:
    """Yields the problem, if any, and the relative error of each clip of a sample spread evenly over the split."""
    spec = features.spec
    if spec.level == IMPORTED:
        raise InputError(f"{features.path}: imported features ({spec.source}); no encoder makes them. Omit --encoder.")
    encoder = of_dim(extractor_of(run), spec.dim)
    different = differs_from(encoder, spec)
    if different:
        yield (
            f"{features.split}: not features of {run.config.encoder.name or run.visual} ({'; '.join(different)}); "
            "no clip was extracted again",
            None,
        )
        return
    if not run.manifest.is_file():
        raise InputError(f"{run.manifest}: no such manifest, so no videos are known. Omit --encoder.")
    clips = {clip.id: clip for clip in of_split(ensure_clips(run), features.split)}
    chosen = [clips[clip_id] for clip_id in _spread(features.ids, count) if clip_id in clips]
    require_corpus(run, chosen)
    frozen = frozen_encoder(encoder, spec, pick_device(run.config.compute.device), run.config.features.batch_frames)
    augmentation = AugmentationConfig.model_validate(spec.augmentation or {})
    reader = reader_of(encoder, run.config.video.decoder, augmentation, spec.view_seed or 0)
    jobs = (ClipView(clip, view) for clip in chosen for view in range(features.views))
    encoded = encode(frozen, read_ahead(jobs, reader, run.config.compute.readers))
    with progress_counter(f"comparing {features.split}", len(chosen), 0) as show:
        for number, clip in enumerate(chosen, start=1):
            live_views = [
                one.features.numpy() if isinstance(one, EncodedClip) else str(one.reason)
                for one in islice(encoded, features.views)
            ]
            yield _compare_views(features, clip, live_views)
            show(number)


def _spread(ids: Sequence[str], count: int) -> list[str]:
    """Returns `count` of the ids, spread evenly from the first to the last; all if there are fewer."""
    if not ids:
        return []
    return [ids[index] for index in np.unique(np.linspace(0, len(ids) - 1, min(count, len(ids))).round().astype(int))]


def _compare_views(
    features: FeatureCache, clip: Clip, live_views: Sequence[np.ndarray | str]
) -> tuple[str, float | None]:
    """Compares a clip's views with the same views extracted again, [N, C] each or the reason why not. Returns the
    problem, if any, and the largest relative error."""
    name, largest = f"{features.split}: clip {clip.id!r}", 0.0
    for view, live in enumerate(live_views):
        view_name = name if features.views == 1 else f"{name}, view {view},"
        if isinstance(live, str):
            return f"{view_name} cannot be extracted again ({live})", None
        cached = features.view(clip.id, view)
        if live.shape != cached.shape:
            return (
                f"{view_name} has shape {list(cached.shape)}, and {list(live.shape)} when it is extracted again",
                None,
            )
        error = relative_error(live, cached)
        largest = max(largest, error)
        if not error <= TOLERANCE:
            differs = f"{view_name} differs from what the encoder computes from its video"
            return f"{differs}: relative error {error:.2g}, above the tolerance of {TOLERANCE:g}", largest
    return "", largest


def relative_error(live: np.ndarray, cached: np.ndarray) -> float:
    """Returns norm(live - cached) / norm(cached)."""
    live, cached = live.astype(np.float64), cached.astype(np.float64)
    difference, norm = float(np.linalg.norm(live - cached)), float(np.linalg.norm(cached))
    return difference / norm if norm else (np.inf if difference else 0.0)
