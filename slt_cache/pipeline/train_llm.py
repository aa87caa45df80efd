"""Stage 2 as a command: a feature cache in, `llm/` of the run folder out. Opens no video.

Beside it the two controls that keep its score honest: the same LLM without pre-training, and stage 1's Light-T
trained on over the same cache."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from slt_cache.advice import command
from slt_cache.batches.features import feature_loader, require_positions
from slt_cache.batches.sampler import Share
from slt_cache.checkpoints.record import Record, read_record
from slt_cache.checkpoints.translator import save_llm, save_llm_record
from slt_cache.checkpoints.visual import VisualCheckpoint, load_visual
from slt_cache.config import LightTConfig, OptimizerConfig
from slt_cache.corpora.base import Clip
from slt_cache.corpora.registry import language_code
from slt_cache.decoding.search import decode_cached
from slt_cache.distributed.processes import join, main_process_first, rank, size
from slt_cache.errors import InputError
from slt_cache.features.cache import FeatureCache
from slt_cache.features.file import CacheFile
from slt_cache.features.spec import IMPORTED
from slt_cache.models.translators import SignTranslator, make_light_t
from slt_cache.pipeline.feature_spec import asked_spec, open_features
from slt_cache.pipeline.final_dev import score_cached_dev
from slt_cache.pipeline.prepare import ensure_clips
from slt_cache.pipeline.prepare_llm import llm_of
from slt_cache.pipeline.stages import Attempt, RecordOf, Stage, require_resources, train_task, training_stage
from slt_cache.progress import log, progress_counter
from slt_cache.runs.derived import Derived
from slt_cache.runs.run import Run
from slt_cache.runs.scoring import preset_of, rounded, score_hypotheses
from slt_cache.runs.unfinished import BEST, Unfinished
from slt_cache.text.families import small_family, small_positions
from slt_cache.text.tokenizer import Tokenizer
from slt_cache.training.state import TrainerState
from slt_cache.training.tasks.llm import FromCacheTask


@dataclass(frozen=True)
class _Plan:
    """One training from the cache."""

    name: str
    folder: Path
    settings: dict[str, Any]
    command: str
    tokenizer: Tokenizer
    make_model: Callable[[], SignTranslator]
    lr: float
    adapter_lr: float
    loop: OptimizerConfig
    keep: Callable[[], None] = lambda: None
    """Puts the tokenizer or the LLM that was made for the training in its place."""


def train_llm(run: Run, cache: Path, restart: bool = False) -> Record:
    """Fine-tunes adapter and LLM on the cache's train split; dev decides which weights are kept."""
    config = run.config
    # Nothing that the training needs should fail after an LLM was pre-trained for it, or after the first epoch.
    require_resources(run, config.llm_training)
    preset_of(config)
    join()
    train_split, dev_split = _open(run, cache)
    clips = main_process_first(lambda: _clips(run, train_split))
    with Derived(run, run.command("train-llm"), restart) as derived:
        positions = small_positions(config.llm.name)
        tokenizer, made_of, make_llm = llm_of(
            run,
            clips,
            derived,
            saves=config.llm.pretrained,
            check=lambda tokenizer: require_positions(train_split, positions, tokenizer),
        )
        run = run.of_stage_2
        plan = _llm_plan(run, train_split, tokenizer, made_of, make_llm, derived)
        return _train(run, plan, train_split, dev_split, restart)


def _llm_plan(
    run: Run,
    train_split: FeatureCache,
    tokenizer: Tokenizer,
    made_of: dict[str, Any],
    make_llm: Callable[[], Any],
    derived: Derived,
) -> _Plan:
    config = run.config

    def make_model() -> SignTranslator:
        return SignTranslator(train_split.dim, make_llm(), tokenizer.start, **config.llm_training.dropouts)

    return _Plan(
        name="stage 2" if config.llm.pretrained else "stage 2 from scratch",
        folder=run.llm if config.llm.pretrained else run.scratch,
        settings={
            **_cache_settings(run, train_split),
            "tokenizer_sha256": tokenizer.sha256,
            **made_of,
            "llm_training": config.llm_training.recorded(),
        },
        command=run.command("train-llm"),
        tokenizer=tokenizer,
        make_model=make_model,
        lr=config.llm_training.lr,
        adapter_lr=config.llm_training.adapter_lr,
        loop=config.llm_training,
        keep=derived.keep,
    )


def _clips(run: Run, train_split: FeatureCache) -> list[Clip]:
    """Whose sentences decide the LLM's vocabulary: those of the manifest, which stage 1 has seen; or, for features that
    were made elsewhere, those of the cache."""
    if train_split.spec.level == IMPORTED:
        texts = zip(train_split.ids, train_split.texts, strict=True)
        return [Clip(clip_id, "train", Path(), None, None, text) for clip_id, text in texts]
    if small_family(run.config.llm.name) is not None and not run.tokenizer.is_dir():
        first = run.command("train-visual")
        raise InputError(f"{run.tokenizer}: there is no tokenizer yet. Train stage 1 first: {first}")
    return ensure_clips(run)


def train_control(run: Run, cache: Path) -> Record:
    """A Light-T over the same cache, for all of stage 2's epochs, without its patience: that of stage 1 goes on, or,
    where the features are others than the sign-wise ones that it reads, a new one of its size begins, which gets the
    epochs of stage 1 too. Epochs and not seconds, so that its score can be made again. With other settings than it was
    trained with, such as those of another cache, it is trained anew."""
    train_split, dev_split = _open(run, cache)
    visual = load_visual(run.visual / "best")
    goes_on, settings, loop = (
        _goes_on(train_split),
        _control_settings(run, train_split),
        _control_loop(run, train_split),
    )
    made = (read_record(run.control / BEST), Unfinished(run.control).record)
    restart = not any(record is not None and record.settings == settings for record in made)
    plan = _Plan(
        name="control: Light-T",
        folder=run.control,
        settings=settings,
        command=run.command("demo"),
        tokenizer=visual.tokenizer,
        make_model=lambda: visual.model.translator if goes_on else _new_light_t(visual, train_split.dim),
        lr=loop.lr,
        adapter_lr=loop.lr,
        loop=loop,
    )
    return _train(run, plan, train_split, dev_split, restart)


def has_control(run: Run, cache: Path) -> bool:
    """Whether the control is trained, on this cache and with these settings."""
    made = read_record(run.control / "best")
    if made is None or not made.finished:
        return False
    return made.settings == _control_settings(run, FeatureCache(cache, "train"))


def _goes_on(train_split: FeatureCache) -> bool:
    """Whether these are the features that stage 1's Light-T reads."""
    return train_split.spec.level == "sign"


def _control_loop(run: Run, train_split: FeatureCache) -> OptimizerConfig:
    config = run.config
    epochs = config.llm_training.epochs + (0 if _goes_on(train_split) else config.visual_training.epochs)
    shared = {name: getattr(config.llm_training, name) for name in OptimizerConfig.model_fields}
    return OptimizerConfig(**{**shared, "patience": None, "epochs": epochs, "lr": config.control.lr})


def _control_settings(run: Run, train_split: FeatureCache) -> dict[str, Any]:
    """What its weights depend on: of stage 2's settings those of the loop and of the batches."""
    training = run.config.llm_training
    return {
        **_cache_settings(run, train_split),
        "loop": _control_loop(run, train_split).recorded(),
        "length_buckets": training.length_buckets,
        "evaluate_every": training.evaluate_every,
    }


def _new_light_t(visual: VisualCheckpoint, dim: int) -> SignTranslator:
    light_t, tokenizer = LightTConfig.model_validate(visual.record.settings["light_t"]), visual.tokenizer
    seq2seq = make_light_t(light_t.size, len(tokenizer), tokenizer.pad, tokenizer.eos, light_t.dropout, tokenizer.start)
    return SignTranslator(dim, seq2seq, tokenizer.start)


def _train(run: Run, plan: _Plan, train_split: FeatureCache, dev_split: FeatureCache | None, restart: bool) -> Record:
    def work(attempt: Attempt) -> TrainerState:
        def make_task(device: torch.device, record_of: RecordOf) -> FromCacheTask:
            model = plan.make_model()
            require_positions(train_split, model.positions, plan.tokenizer)

            def evaluate() -> dict[str, float]:
                if dev_split is None:
                    return {}
                with progress_counter("translating dev", len(dev_split), 0) as show:
                    hypotheses = decode_cached(model, dev_split, plan.tokenizer, run.config.generation.on_dev, show)
                return rounded(score_hypotheses(run.config, hypotheses, dev_split.texts))

            def save_best(epoch: int, dev: dict[str, float]) -> None:
                save_llm(attempt.best, model, plan.tokenizer, record_of(epoch, dev))

            loader = feature_loader(
                train_split,
                plan.tokenizer,
                batch_size=plan.loop.batch_size,
                seed=run.config.seed,
                shuffle=True,
                by_length=run.config.llm_training.length_buckets,
                share=Share(rank(), size()),
            )
            return FromCacheTask(
                plan.name,
                model,
                loader,
                lr=plan.lr,
                adapter_lr=plan.adapter_lr,
                weight_decay=plan.loop.weight_decay,
                evaluate=evaluate,
                save_best=save_best,
            )

        every = run.config.llm_training.evaluate_every
        return train_task(run, plan.loop, attempt, make_task, every)

    def score(best: Path, beams: int) -> dict[str, float]:
        assert dev_split is not None
        return score_cached_dev(run, best, dev_split, beams)

    stage = Stage(
        plan.name,
        plan.folder,
        plan.command,
        plan.settings,
        beams=run.config.generation.num_beams,
        dev_sha256=_dev_sha256(dev_split),
        score=score,
        save_record=save_llm_record,
        keep=plan.keep,
    )
    record = training_stage(stage, restart, work)
    run.save_config(run.stage_in(stage.folder))
    return record


def _open(run: Run, cache: Path) -> tuple[FeatureCache, FeatureCache | None]:
    """Train and dev split. Says what is missing, in clips or in splits. Raises InputError where the features are not
    those of the run's encoder, or the clips not those of its manifest."""
    asked = asked_spec(run)
    file = CacheFile(cache)
    if run.config.features.level != IMPORTED and FeatureCache(file, "train").spec.level == IMPORTED:
        raise InputError(
            f"{cache} holds imported features, and features.level is {run.config.features.level}. "
            f"Add --set features.level={IMPORTED}, or name the cache of the run's own encoder."
        )
    train_split = open_features(run, file, "train", asked)
    dev_split = open_features(run, file, "dev", asked) if "dev" in file.splits else None
    if dev_split is None:
        how = run.command("extract-features --split dev", features=cache)
        if train_split.spec.level == IMPORTED:
            how = f"lines of dev in the table, and {command('cache import DIR', out=cache)}"
        log(f"{cache} holds no dev split: the last weights will be kept, not the best. Add it: {how}")
    for split in filter(None, (train_split, dev_split)):
        if not len(split):
            raise InputError(f"{cache}: the split {split.split} is empty. Extract again from readable videos.")
    return train_split, dev_split


def _dev_sha256(dev_split: FeatureCache | None) -> str | None:
    """Identity of the cached clips of dev, of their sentences and of what their videos held."""
    if dev_split is None:
        return None
    rows = zip(dev_split.ids, dev_split.texts, dev_split.sources, strict=True)
    return hashlib.sha256(repr([dev_split.attributes["manifest_sha256"], *rows]).encode()).hexdigest()


def _cache_settings(run: Run, train_split: FeatureCache) -> dict[str, Any]:
    """What the weights depend on, whichever model is trained on the cache."""
    return {
        "seed": run.config.seed,
        "features": train_split.spec.to_json(),
        "clips": len(train_split),
        "clips_sha256": train_split.clips_sha256,
        "language": language_code(run.config),
    }
