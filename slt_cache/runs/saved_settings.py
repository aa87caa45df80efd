"""Saving of config.yaml, which always has the settings that a run's finished stages were made with."""

from collections.abc import Sequence
from typing import Any

from slt_cache.config import check_config, save_config
from slt_cache.distributed.processes import is_main_process
from slt_cache.progress import log
from slt_cache.runs.run import Run
from slt_cache.runs.settings_use import OWNED, STAGES, UPSTREAM, merged, named, stage_of, value_of


def save_settings(run: Run, made: str | None, trained: bool = True) -> None:
    """Writes config.yaml after a stage of settings_use.STAGES: its settings, those shared by all stages, and those of
    stages not made yet. Other finished stages keep their saved settings. A comparison (None) changes none, but gives a
    folder without a config its settings.

    Settings shared with later stages change if this stage was `trained` now; if it was finished before, finished later
    stages keep theirs, which is logged."""
    if not is_main_process():
        return
    asked, saved = run.lasting or run.config, run.saved_config()
    if saved is None:
        if not run.on_the_way:
            save_config(asked, run.config_file)
        return
    if made is None:
        return
    if made == "features" or run.on_the_way:
        its = [section for section, stage in OWNED.items() if stage == made]
        asked = saved.model_copy(update={section: getattr(asked, section) for section in its})
    keep = [stage for stage in STAGES if stage != made and run.is_made(stage)]
    before, now = saved.model_dump(mode="json"), asked.model_dump(mode="json")
    shared = UPSTREAM.get(made, ()) if trained else ()
    asked = check_config(merged(now, before, keep, shared), str(run.config_file))
    if not trained:
        _log_kept(run, made, before, now, keep)
    if asked != saved:
        save_config(asked, run.config_file)


def _log_kept(run: Run, made: str, before: dict[str, Any], now: dict[str, Any], keep: Sequence[str]) -> None:
    """Logs the settings of this command line that are not saved, since a finished later stage has others."""
    for setting in named(run.overrides):
        stage = stage_of(setting)
        is_shared = any(setting == one or setting.startswith(f"{one}.") for one in UPSTREAM.get(made, ()))
        old, new = value_of(before, setting), value_of(now, setting)
        if is_shared and stage is not None and stage in keep and old != new:
            log(f"{setting}={new} is not saved: {STAGES[stage]} of {run.folder} was made with {old}")
