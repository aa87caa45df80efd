"""Settings of a `train-llm` that differ from what stage 1 was trained with, and become stage 2's own."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from slt_cache.checkpoints.record import whole_record
from slt_cache.config import Config, with_settings
from slt_cache.corpora.fraction import FRACTION
from slt_cache.runs.run import Run
from slt_cache.runs.settings_use import named, value_of


def with_own_of_stage_2(run: Run) -> Run:
    """Returns the run for `train-llm`: where the command line names another seed or share of the clips than earlier
    stages have, it is stage 2's own."""
    visual = whole_record(run.visual / "best")
    record = visual or whole_record(run.pretrained / "best")
    made: dict[str, Any] = {} if record is None else {"seed": record.settings.get("seed")}
    if visual is not None:
        made[FRACTION] = visual.settings.get(FRACTION, 1.0)
    asked = named(run.overrides)
    made = {name: value for name, value in made.items() if value is not None and name in asked}
    lasting = None if run.lasting is None else _with_own(run.lasting, made)
    return replace(run, config=_with_own(run.config, made), lasting=lasting)


def _with_own(config: Config, made: Mapping[str, Any]) -> Config:
    """Returns the settings as the earlier stages have them, with those that differ as stage 2's own."""
    asked = config.model_dump(mode="json")
    changes = dict(made)
    for name, value in made.items():
        now = value_of(asked, name)
        changes[f"llm_training.{name.rpartition('.')[2]}"] = None if now == value else now
    return with_settings(config, changes) if changes else config
