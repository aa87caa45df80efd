"""What was made of an encoder or an LLM that has been trained again since: named, with the commands that renew it."""

from collections.abc import Sequence

from slt_cache.checkpoints.record import Record, whole_record
from slt_cache.checkpoints.visual import VisualCheckpoint, load_visual
from slt_cache.distributed.processes import is_main_process
from slt_cache.features.cache import open_splits
from slt_cache.features.spec import IMPORTED, FeatureSpec
from slt_cache.progress import log
from slt_cache.runs.run import Run
from slt_cache.runs.unfinished import BEST
from slt_cache.runs.variants import BASELINE, MODELS

FROM_CACHE = [row.name for row in MODELS.values() if row.from_cache]
UNFROZEN = [row.name for row in MODELS.values() if row.after_stage_1 and row.own_encoder]
FROM_PRETRAINED = [row.name for row in MODELS.values() if row.pretrained]
"""Models, by what they start from."""


def say_outdated_by_stage_1(run: Run) -> None:
    """Says what in the run is not of the encoder or the tokenizer that stage 1 has now."""
    if not is_main_process():
        return
    visual = load_visual(run.visual / BEST)
    models = [model for model in FROM_CACHE if not _reads(_record(run, model), visual)]
    models += [model for model in UNFROZEN if not _begins_with(_record(run, model), visual)]
    pretrained = whole_record(run.pretrained / BEST)
    old_tokenizer = pretrained is not None and pretrained.settings["tokenizer_sha256"] != visual.tokenizer.sha256
    old_cache = not _is_of(run, visual)
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


def say_outdated_by_pretraining(run: Run) -> None:
    """Says which models were trained from an LLM that has been replaced."""
    made = whole_record(run.pretrained / BEST)
    if not is_main_process() or made is None:
        return
    begun = {model: _record(run, model) for model in FROM_PRETRAINED}
    named = [model for model, record in begun.items() if record and record.settings["pretraining"] != made.settings]
    if named:
        log(
            f"out of date, since the LLM was pre-trained again: {', '.join(named)}. Renew what you need: "
            f"{'; '.join(_commands(run, named))}"
        )


def _commands(run: Run, models: Sequence[str]) -> list[str]:
    """Trains these models again; `demo` and `reproduce` alone train the Light-T baseline, and do so by themselves."""
    return [run.command(f"{MODELS[model].words} --restart") for model in models if MODELS[model] is not BASELINE]


def _record(run: Run, model: str) -> Record | None:
    return whole_record(run.folder / model / BEST)


def _reads(record: Record | None, visual: VisualCheckpoint) -> bool:
    if record is None:
        return True
    spec = FeatureSpec.from_json(record.settings["features"])
    return spec.level == IMPORTED or spec.encoder_sha256 == visual.sha256(spec.level)


def _begins_with(record: Record | None, visual: VisualCheckpoint) -> bool:
    return record is None or bool(record.settings["start"]["encoder_sha256"] == visual.sha256("sign"))


def _is_of(run: Run, visual: VisualCheckpoint) -> bool:
    """Whether the run's own cache, if there is one, holds features of this encoder."""
    if not run.features.is_file():
        return True
    specs = [held.spec for held in open_splits(run.features).values()]
    return all(spec.level == IMPORTED or spec.encoder_sha256 == visual.sha256(spec.level) for spec in specs)
