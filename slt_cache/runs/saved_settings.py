"""Saving of config.yaml, which always has the settings that a run's finished stages were made with."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from slt_cache.config import check_config, save_config
from slt_cache.distributed.processes import is_main_process
from slt_cache.progress import log
from slt_cache.runs.run import Run
from slt_cache.runs.settings_use import PIXELS, STAGES, UPSTREAM, merged, named, stage_of, value_of


def has_only_named_encoder(run: Run) -> bool:
    """Returns whether the run's encoder is a named one, and there is no stage 1 whose settings it has to keep."""
    return run.config.encoder.name is not None and not run.is_made("visual")


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
    only_own = made == "features" or run.on_the_way
    keep: list[str | None] = [stage for stage in STAGES if stage != made and (only_own or run.is_made(stage))]
    keep += [None] if only_own else []
    before, now = saved.model_dump(mode="json"), asked.model_dump(mode="json")
    shared = UPSTREAM.get(made, ()) if trained else ()
    if made == "features" and has_only_named_encoder(run):
        shared = PIXELS
    asked = check_config(merged(now, before, keep, shared), str(run.config_file))
    if not trained:
        _log_kept(run, made, before, now, keep)
    if asked != saved:
        save_config(asked, run.config_file)


def save_corpus(run: Run) -> None:
    """Writes the settings of a corpus that another command had to prepare first, into a config.yaml that exists."""
    save_settings(replace(run, on_the_way=True), "corpus")


def _log_kept(run: Run, made: str, before: dict[str, Any], now: dict[str, Any], keep: Sequence[str | None]) -> None:
    """Logs the settings of this command line that are not saved, since a finished later stage has others."""
    for setting in named(run.overrides):
        stage = stage_of(setting)
        is_shared = any(setting == one or setting.startswith(f"{one}.") for one in UPSTREAM.get(made, ()))
        old, new = value_of(before, setting), value_of(now, setting)
        if is_shared and stage is not None and stage in keep and old != new:
            log(f"{setting}={new} is not saved: {STAGES[stage]} of {run.folder} was made with {old}")
