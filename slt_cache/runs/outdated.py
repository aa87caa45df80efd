"""Artifacts that are out of date because their encoder or LLM was trained again, with the commands that renew them."""

from collections.abc import Sequence

from slt_cache.checkpoints.record import Record, whole_record
from slt_cache.checkpoints.visual import VisualCheckpoint, load_visual
from slt_cache.distributed.processes import is_main_process
from slt_cache.features.cache import open_splits
from slt_cache.features.place import is_cache
from slt_cache.features.spec import IMPORTED, FeatureSpec, streams_of
from slt_cache.progress import log
from slt_cache.runs.run import Run
from slt_cache.runs.unfinished import BEST
from slt_cache.runs.variants import BASELINE, MODELS

FROM_CACHE = [row.name for row in MODELS.values() if row.from_cache]
UNFROZEN = [row.name for row in MODELS.values() if row.after_stage_1 and row.own_encoder]
FROM_PRETRAINED = [row.name for row in MODELS.values() if row.pretrained]
"""Models by what they start from."""


def log_outdated_by_stage_1(run: Run) -> None:
    """Logs what in the run belongs to another encoder or tokenizer than stage 1's present ones."""
    if not is_main_process():
        return
    visual = load_visual(run.visual / BEST)
    models = [model for model in FROM_CACHE if not _reads(_record(run, model), visual)]
    models += [model for model in UNFROZEN if not _begins_with(_record(run, model), visual)]
    pretrained = whole_record(run.pretrained / BEST)
    old_tokenizer = pretrained is not None and pretrained.settings["tokenizer_sha256"] != visual.tokenizer.sha256
    old_cache = not _has_its_cache(run, visual)
    named = [
        *([run.features.name] if old_cache else []),
        *(["llm/pretrained"] if old_tokenizer else []),
        *models,
    ]
    if not named:
        return
    commands = [run.command("extract-features --split all --restart")] if old_cache else []
    if old_tokenizer and "llm" not in models:
        commands.append(run.command("llm pretrain --restart"))
    log(
        f"out of date, since stage 1 was trained again: {', '.join(named)}. Renew what you need: "
        f"{'; '.join([*commands, *_commands(run, models)])}"
    )


def log_outdated_by_pretraining(run: Run) -> None:
    """Logs which models were trained from an LLM that was replaced since."""
    made = whole_record(run.pretrained / BEST)
    if not is_main_process() or made is None:
        return
    begun = {model: _record(run, model) for model in FROM_PRETRAINED}
    named = [
        model
        for model, record in begun.items()
        if record and record.settings.get("pretraining", made.settings) != made.settings
    ]
    if named:
        log(
            f"out of date, since the LLM was pre-trained again: {', '.join(named)}. Renew what you need: "
            f"{'; '.join(_commands(run, named))}"
        )


def _commands(run: Run, models: Sequence[str]) -> list[str]:
    """Returns the commands that train these models again; the Light-T baseline has none, since `demo` and `reproduce`
    train it."""
    return [run.command(f"{MODELS[model].words} --restart") for model in models if MODELS[model] is not BASELINE]


def _record(run: Run, model: str) -> Record | None:
    return whole_record(run.folder / model / BEST)


def _reads(record: Record | None, visual: VisualCheckpoint) -> bool:
    if record is None:
        return True
    single = {"": FeatureSpec.from_json(record.settings["features"])}
    return all(_is_of(spec, visual) for spec in (streams_of(record.settings) or single).values())


def _begins_with(record: Record | None, visual: VisualCheckpoint) -> bool:
    return record is None or bool(record.settings["start"]["encoder_sha256"] == visual.sha256("sign"))


def _has_its_cache(run: Run, visual: VisualCheckpoint) -> bool:
    """Returns whether the run's own cache, if any, holds no features of another stage 1."""
    if not is_cache(run.features):
        return True
    return all(_is_of(split.spec, visual) for split in open_splits(run.features).values())


def _is_of(spec: FeatureSpec, visual: VisualCheckpoint) -> bool:
    """Returns whether features are those of this encoder, or of none that stage 1 trains."""
    elsewhere = spec.level == IMPORTED or spec.encoder is not None
    return elsewhere or spec.encoder_sha256 == visual.sha256(spec.level)
