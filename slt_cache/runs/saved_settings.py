"""config.yaml of a run: always the settings that its finished stages were made with."""

from collections.abc import Sequence
from typing import Any

from slt_cache.config import check_config, save_config
from slt_cache.distributed.processes import is_main_process
from slt_cache.progress import log
from slt_cache.runs.run import Run
from slt_cache.runs.settings_use import OWNED, STAGES, UPSTREAM, merged, named, stage_of, value_of


def save_settings(run: Run, made: str | None, trained: bool = True) -> None:
    """Writes config.yaml for a stage that was made, one of settings_use.STAGES: its settings, those that no single
    stage decides, and those of stages that are still to be made. Those of other finished stages stay as they are
    saved. A comparison (None) changes none, but gives a folder without a config its settings.

    What a stage shares with later ones is its own if it was `trained` now; if it was finished before, the later ones
    that are finished keep theirs, which is said."""
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
        _say_kept(run, made, before, now, keep)
    if asked != saved:
        save_config(asked, run.config_file)


def _say_kept(run: Run, made: str, before: dict[str, Any], now: dict[str, Any], keep: Sequence[str]) -> None:
    """Says which settings of this command line a finished later stage does not have, so that they are not saved."""
    for setting in named(run.overrides):
        stage = stage_of(setting)
        is_shared = any(setting == one or setting.startswith(f"{one}.") for one in UPSTREAM.get(made, ()))
        old, new = value_of(before, setting), value_of(now, setting)
        if is_shared and stage is not None and stage in keep and old != new:
            log(f"{setting}={new} is not saved: {STAGES[stage]} of {run.folder} was made with {old}")
