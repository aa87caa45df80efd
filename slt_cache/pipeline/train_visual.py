"""Stage 1 as a command: clips in, `visual/` of the run folder out."""

from pathlib import Path

from slt_cache.checkpoints.record import Record, save_record
from slt_cache.checkpoints.visual import load_visual, new_visual_translator, save_visual
from slt_cache.distributed.processes import join, main_process_first
from slt_cache.encoders.registry import find_backbone
from slt_cache.models.translators import VisualTranslator
from slt_cache.pipeline.prepare import ensure_clips, require_split
from slt_cache.pipeline.prepare_llm import ensure_tokenizer
from slt_cache.pipeline.stages import require_resources
from slt_cache.pipeline.train_from_video import PixelTraining, train_from_pixels
from slt_cache.runs.derived import Derived
from slt_cache.runs.outdated import say_outdated_by_stage_1
from slt_cache.runs.run import Run
from slt_cache.runs.scoring import preset_of
from slt_cache.text.tokenizer import Tokenizer
from slt_cache.training.tasks.visual import visual_optimizer


def train_visual(run: Run, restart: bool = False, allow_missing: bool = False) -> Record:
    """Trains the visual encoder with Light-T, or says how it was trained before. With `allow_missing` it goes without
    the clips that cannot be read."""
    config = run.config
    # Before the corpus is drawn and an epoch trained: a mistyped device or a missing preset should not take a minute.
    require_resources(run, config.visual_training)
    preset_of(config)
    find_backbone(config.encoder.backbone)
    join()
    clips = main_process_first(lambda: ensure_clips(run))
    require_split(run, clips, "train")
    with Derived(run, run.command("train-visual"), restart) as derived:
        tokenizer = main_process_first(lambda: ensure_tokenizer(run, clips, derived))
        plan = _plan(run, tokenizer, derived)
        record = train_from_pixels(run, clips, plan, restart, allow_missing)
    say_outdated_by_stage_1(run)
    return record


def _plan(run: Run, tokenizer: Tokenizer, derived: Derived) -> PixelTraining:
    config = run.config

    def save(folder: Path, model: VisualTranslator, record: Record) -> None:
        save_visual(folder, model, tokenizer, record)

    return PixelTraining(
        name="stage 1",
        folder=run.visual,
        command=run.command("train-visual"),
        settings={
            "light_t": config.light_t.model_dump(mode="json"),
            "visual_training": config.visual_training.recorded(),
        },
        loop=config.visual_training,
        tokenizer=tokenizer,
        make_model=lambda: new_visual_translator(config.encoder, config.video, config.light_t, tokenizer),
        make_optimizer=lambda model: visual_optimizer(model, config.visual_training),
        save=save,
        load=lambda best: load_visual(best).model,
        save_record=save_record,
        keep=derived.keep,
        keep_epochs=config.visual_training.keep_epochs,
    )
