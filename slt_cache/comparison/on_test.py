"""Evidence, in a run folder, that its choices were made on the test split: then its test score is too good.

Training keeps the weights that score best on dev, and never reads test. So test decides only if dev shows test clips,
or if a person looks at its score and then chooses the settings of the search, or trains again."""

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from slt_cache.checkpoints.record import whole_record
from slt_cache.corpora.base import Clip, of_split
from slt_cache.corpora.manifest import read_manifest
from slt_cache.corpora.same_videos import overlaps
from slt_cache.features.cache import FeatureCache
from slt_cache.features.file import CacheFile
from slt_cache.features.place import is_cache
from slt_cache.runs.eval_files import BEFORE, EARLIER, WEIGHTS, WITHOUT, file_stem
from slt_cache.runs.evaluations import saved_evaluations
from slt_cache.runs.run import Run
from slt_cache.runs.variants import VISUAL

TRIALS = "trials"
"""Folder of a sweep with a run folder for each trial, such as 7, and 7-seed2 (sweep/request.py)."""


def choices_on_test(run: Run, models: Sequence[str]) -> dict[str, list[str]]:
    """Returns, for each model, what shows that its choices were, or may have been, made on test."""
    kept = [model for model in models if _is_kept_by_dev(run, model)]
    shared = (_shared_in_manifest(run) or _shared_in_cache(run)) if kept else []
    example = next(iter(shared), "")
    selection = f"weights were kept by their score on dev, which shows test clips: {len(shared):,}, such as {example}"
    saved = list(saved_evaluations(run).values())
    return {
        model: [
            *([selection] if shared and model in kept else []),
            *_settings([one for one in saved if one.get("model") == model]),
            *_trainings([one for one in saved if (one.get("model"), one.get("split")) == (model, "test")]),
            *_trials(run, model),
        ]
        for model in models
    }


def _is_kept_by_dev(run: Run, model: str) -> bool:
    """Returns whether dev decided which weights of the model were kept, or of the stage 1 that it builds on."""
    records = [whole_record(run.folder / stage / "best") for stage in dict.fromkeys((VISUAL.name, model))]
    return any(record is not None and record.dev for record in records)


def _shared_in_manifest(run: Run) -> list[str]:
    """Returns each cut of a video in dev that overlaps one in test."""
    if not run.manifest.is_file():
        return []
    clips = read_manifest(run.manifest)
    found: dict[str, list[Clip]] = {}
    for clip in [*of_split(clips, "dev"), *of_split(clips, "test")]:
        found.setdefault(os.path.realpath(clip.video), []).append(clip)
    return [one for same in found.values() for one in overlaps(same)]


def _shared_in_cache(run: Run) -> list[str]:
    """Returns the clips whose features and sentence are in dev and in test of the run's own cache."""
    file = CacheFile(run.features) if is_cache(run.features) else None
    if file is None or not {"dev", "test"} <= set(file.splits):
        return []
    dev, test = (FeatureCache(file, split) for split in ("dev", "test"))
    of_content = dict(zip(_contents(dev), dev.ids, strict=True))
    found = zip(_contents(test), test.ids, strict=True)
    return [f"{of_content[one]} (dev) and {clip_id} (test)" for one, clip_id in found if one in of_content]


def _contents(cache: FeatureCache) -> list[tuple[int, int, str]]:
    """Returns the checksum and number of the features of each clip, and its sentence."""
    sums = cache.column("checksum")[:: cache.views].tolist()
    return list(zip(sums, cache.steps.tolist(), cache.texts, strict=True))


def _settings(saved: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yields the settings of search and scoring with which a model was scored on test, but not on dev."""
    tried: dict[str, list[dict[str, Any]]] = {"dev": [], "test": []}
    for one in saved:
        settings = {name: value for name, value in one.get("settings", {}).items() if name not in (WEIGHTS, WITHOUT)}
        tried.setdefault(one["split"], []).append(settings)
    only = [one for one in tried["test"] if one and one not in tried["dev"]]
    if only:
        shown = "; ".join(dict.fromkeys(map(_shown, only)))
        yield f"test was scored with other settings too ({shown}) and dev was not, so they may have been chosen on test"


def _shown(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in settings.items())


def _trainings(saved: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yields how often test was scored for other weights of a model before the present ones were trained."""
    before = sum(len(one.get(BEFORE, [])) + (one.get("settings", {}).get(WEIGHTS) == EARLIER) for one in saved)
    if before:
        times = "once" if before == 1 else f"{before} times"
        yield f"test was scored {times} before the present weights were trained, so they may have been chosen on test"


def _trials(run: Run, model: str) -> Iterator[str]:
    """Yields the other trials of the sweep that the run is one of, if these were scored on test too."""
    folder = run.folder.resolve()
    if folder.parent.name == TRIALS:
        scored = {path.parents[1].name for path in folder.parent.glob(f"*/eval/{file_stem(model, 'test')}.json")}
        others = sorted({_trial(name) for name in scored} - {_trial(folder.name)})
        if others:
            named = ", ".join(others)
            yield f"test was scored for other trials of its sweep ({named}), so it may have been chosen by it"


def _trial(name: str) -> str:
    return name.partition("-")[0]
