"""Several runs side by side: names that tell them apart, and the settings in which they differ."""

from collections.abc import Mapping, Sequence
from typing import Any

from slt_cache.runs.run import Run


def names_of(runs: Sequence[Run]) -> list[str]:
    """Returns the names of the runs' folders, or paths if two names are equal."""
    short = [run.folder.resolve().name for run in runs]
    return [name if short.count(name) == 1 else str(run.folder) for name, run in zip(short, runs, strict=True)]


def settings_that_differ(runs: Sequence[Run]) -> list[tuple[str, list[str]]]:
    """Returns each setting in which the runs differ, with its value in each."""
    each = [flat_settings(run) for run in runs]
    keys = dict.fromkeys(key for settings in each for key in settings)
    values = {key: [str(settings.get(key, "–")) for settings in each] for key in keys}
    return [(key, shown) for key, shown in values.items() if len(set(shown)) > 1]


def flat_settings(run: Run) -> dict[str, Any]:
    """Returns the settings of a run by their whole name, such as `llm_training.lr`."""
    return dict(_flat(run.config.model_dump(mode="json")))


def _flat(settings: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in settings.items():
        found += _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else [(f"{prefix}{key}", value)]
    return found
