"""A trained model over a split: hypotheses and scores, printed and saved."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slt_cache.batches.feature_batches import feature_loader
from slt_cache.checkpoints.llm import LlmCheckpoint, load_llm
from slt_cache.checkpoints.record import RECORD_FILE
from slt_cache.checkpoints.visual import VisualCheckpoint, load_visual
from slt_cache.config import FeaturesConfig
from slt_cache.corpora.clips import SPLITS, Clip
from slt_cache.decoding.decode import EncodedBatch, Hypothesis, decode
from slt_cache.decoding.encode import encode, read_clips, readable
from slt_cache.device import pick_device
from slt_cache.errors import InputError
from slt_cache.features.cache import FeatureCache, cached_splits
from slt_cache.features.spec import FeatureSpec
from slt_cache.files import read_json, write_json, write_text
from slt_cache.metrics.scores import Score
from slt_cache.models.sign_translator import SignTranslator
from slt_cache.pipeline.feature_spec import feature_spec
from slt_cache.pipeline.prepare import ensure_clips, require_manifest, require_split
from slt_cache.pipeline.run import MODELS, Run
from slt_cache.pipeline.scoring import preset_of, rounded, score_hypotheses
from slt_cache.pipeline.terminal import say
from slt_cache.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class Evaluation:
    """Scores of one model on one split."""

    model: str
    split: str
    hypotheses: tuple[Hypothesis, ...]
    references: tuple[str, ...]
    scores: dict[str, Score]
    table: Path
    """Tab-separated: id, reference, hypothesis."""


@dataclass(frozen=True)
class _Source:
    """Where the features of a split come from."""

    batches: Iterable[EncodedBatch]
    references: Sequence[str]


def evaluate(run: Run, split: str, cache: Path | None = None, model: str = "llm") -> Evaluation:
    """Translates the split with beam search and scores it, from the cache where it holds the split, else from the
    videos. Without a cache, the run's own is used if there is one.

    Writes eval/SPLIT.json and eval/SPLIT.tsv (stage 1 and controls: eval/MODEL.SPLIT.*)."""
    if split not in SPLITS:
        raise InputError(f"--split {split}: no such split. Use {', '.join(SPLITS)}.")
    if model not in MODELS:
        raise InputError(f"--model {model}: no such model. Use {', '.join(MODELS)}.")
    device = pick_device(run.config.compute.device)
    translator, tokenizer, spec, visual = _load(run, model)
    held = _held(run, split, cache or (run.features if run.features.exists() else None))
    if held is not None and held.spec.level != spec.level and model == "visual":
        held = None  # stage 1 alone reads sign-wise features, whatever stage 2 was given
    if held is not None:
        _require_features(run, held, spec, model)
        source = _from_cache(run, held, tokenizer)
    else:
        source = _from_video(run, split, spec, visual)
    hypotheses = decode(translator.to(device), source.batches, tokenizer, run.config.generation)
    scores = score_hypotheses(run.config, hypotheses, source.references)
    return _save(run, model, split, hypotheses, source.references, scores)


def _load(run: Run, model: str) -> tuple[SignTranslator, Tokenizer, FeatureSpec, VisualCheckpoint | None]:
    """The translator, the features that it wants, and the encoder where it is loaded anyway."""
    if model == "visual":
        visual = load_visual(run.visual / "best")
        spec = feature_spec(visual, FeaturesConfig(level="sign", dtype=run.config.features.dtype))
        return visual.model.translator, visual.tokenizer, spec, visual
    checkpoint: LlmCheckpoint = load_llm(run.folder / model / "best")
    return checkpoint.model, checkpoint.tokenizer, checkpoint.spec, None


def _held(run: Run, split: str, cache: Path | None) -> FeatureCache | None:
    """The split in the cache; None where it is not there and has to be read from video."""
    if cache is None or split not in cached_splits(cache):
        return None
    held = FeatureCache(cache, split)
    require_manifest(run, held)
    return held


def _require_features(run: Run, held: FeatureCache, spec: FeatureSpec, model: str) -> None:
    """Refuses features that are others than the model was trained on."""
    if model == "visual":
        held.require_spec(spec)
    different = held.spec.differences(spec)
    if different:
        again = run.command("demo" if model == "control" else "train-llm --restart")
        raise InputError(
            f"{held.path}: not the features that {run.folder / model} was trained on ({'; '.join(different)}). "
            f"Train it again: {again}; or name its own cache with --features."
        )


def _from_cache(run: Run, held: FeatureCache, tokenizer: Tokenizer) -> _Source:
    if not held.complete:
        say(f"{held.path}: {len(held.missing)} clips of {held.split} are missing; the scores are without them.")
    loader = feature_loader(held, tokenizer, batch_size=run.config.generation.batch_size, shuffle=False)
    return _Source(loader, held.texts)


def _from_video(run: Run, split: str, spec: FeatureSpec, visual: VisualCheckpoint | None) -> _Source:
    visual = visual or load_visual(run.visual / "best")
    require_encoder(visual, spec, run)
    clips: list[Clip] = require_split(run, ensure_clips(run), split)
    device = pick_device(run.config.compute.device)
    visual.model.to(device)
    say(f"{split} is not in a cache: reading {len(clips)} videos")
    items = readable(read_clips(clips, visual.video, run.config.compute.workers))
    batches = encode(
        visual.model,
        items,
        level=spec.level,
        dtype=spec.dtype,
        batch_frames=run.config.features.batch_frames,
        device=device,
    )
    return _Source(batches, [clip.text for clip in clips])


def require_encoder(visual: VisualCheckpoint, spec: FeatureSpec, run: Run) -> None:
    """Refuses an encoder that makes other features than the translator was trained on."""
    made = feature_spec(visual, FeaturesConfig.model_validate({"level": spec.level, "dtype": spec.dtype}))
    different = made.differences(spec)
    if different:
        raise InputError(
            f"{run.visual}: the visual encoder is not the one that stage 2 was trained on ({'; '.join(different)}). "
            f"Extract its features ({run.command('extract-features --restart')}) "
            f"and train stage 2 again ({run.command('train-llm --restart')})."
        )


def _save(
    run: Run,
    model: str,
    split: str,
    hypotheses: Sequence[Hypothesis],
    references: Sequence[str],
    scores: dict[str, Score],
) -> Evaluation:
    stem = _stem(model, split)
    table = run.evaluation / f"{stem}.tsv"
    lines = ["id\treference\thypothesis"]
    for hypothesis, reference in zip(hypotheses, references, strict=True):
        lines.append(f"{hypothesis.clip_id}\t{reference}\t{hypothesis.texts[0]}")
    write_text(table, "\n".join(lines) + "\n")
    write_json(
        run.evaluation / f"{stem}.json",
        {
            "model": model,
            "split": split,
            "made_from": _made_from(run, model, references),
            "clips": len(references),
            "scores": rounded(scores),
            "signatures": {key: found.signature for key, found in scores.items()},
            "hypotheses": str(table),
        },
    )
    return Evaluation(model, split, tuple(hypotheses), tuple(references), scores, table)


def saved_scores(run: Run, model: str, split: str, references: Sequence[str]) -> dict[str, float] | None:
    """Scores of an earlier evaluation, where it had the same weights, sentences and settings."""
    path = run.evaluation / f"{_stem(model, split)}.json"
    if not path.is_file():
        return None
    saved = read_json(path)
    scores: dict[str, float] = saved["scores"]
    return scores if saved["made_from"] == _made_from(run, model, references) else None


def _stem(model: str, split: str) -> str:
    return split if model == "llm" else f"{model}.{split}"


def _made_from(run: Run, model: str, references: Sequence[str]) -> dict[str, Any]:
    """All that decides the scores."""
    return {
        "weights": read_json(run.folder / model / "best" / RECORD_FILE),
        "generation": run.config.generation.model_dump(mode="json"),
        "preset": preset_of(run.config),
        "references_sha256": hashlib.sha256("\n".join(references).encode()).hexdigest(),
    }
