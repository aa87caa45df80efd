"""Evaluation of a trained model on a split: hypotheses and scores, printed and saved."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slt_cache.checkpoints.end_to_end import load_end_to_end
from slt_cache.checkpoints.record import identity_of
from slt_cache.checkpoints.translator import LlmCheckpoint, load_llm, require_llm
from slt_cache.checkpoints.visual import VisualCheckpoint, load_visual
from slt_cache.corpora.base import Clip
from slt_cache.decoding.encode import EncodedClip, Unusable, encode, joined, packed, usable
from slt_cache.decoding.search import (
    EncodedBatch,
    Hypothesis,
    decode,
    decode_cached,
    gather_hypotheses,
    truncation_notice,
)
from slt_cache.device import pick_device
from slt_cache.distributed.processes import gather_object, is_main_process, join, main_process_first, shard
from slt_cache.encoders.base import Encoder
from slt_cache.encoders.packing import arrays_of
from slt_cache.errors import InputError, SltCacheError
from slt_cache.features.cache import FeatureCache, FeaturesDiffer
from slt_cache.features.file import CacheFile
from slt_cache.features.spec import FeatureSpec, Specs, by_name
from slt_cache.features.streams import CachedSplit, ClipSplit
from slt_cache.grounding.alterations import KeptSplit
from slt_cache.locks import require_writable
from slt_cache.metrics.base import Score
from slt_cache.metrics.bootstrap import check_resamples
from slt_cache.models.translators import SignTranslator
from slt_cache.pipeline.clip_list import ClipList, read_list, require_split_name
from slt_cache.pipeline.encoder import encoders_of, frozen_encoder, reader_of
from slt_cache.pipeline.feature_spec import open_features
from slt_cache.pipeline.grounding import Grounding, ground
from slt_cache.pipeline.prepare import ensure_clips, require_split
from slt_cache.pipeline.probe import require_readable
from slt_cache.pipeline.streams import leave_out, open_streams
from slt_cache.progress import log, progress_counter
from slt_cache.reading import read_json
from slt_cache.runs.eval_files import Translated, record_of
from slt_cache.runs.run import Run
from slt_cache.runs.scoring import Parts, references_of, require_scoring, score_hypotheses, score_parts
from slt_cache.runs.settings_use import named
from slt_cache.runs.streams import Caches, as_named, caches_of_streams
from slt_cache.runs.variants import BASELINE, MODELS
from slt_cache.text.tokenizer import Tokenizer
from slt_cache.video.chunks import plain
from slt_cache.video.reader_pool import read_ahead

ATTEMPTS = 3


@dataclass(frozen=True)
class Evaluation:
    """Evaluation of one model on one split."""

    model: str
    split: str
    hypotheses: tuple[Hypothesis, ...]
    references: tuple[str, ...]
    scores: dict[str, Score]
    table: Path
    """Path of the table of id, reference and hypothesis, tab-separated."""
    parts: Parts = field(default_factory=dict)
    """Scores of each language and of each corpus, if there are several."""
    grounding: Grounding | None = None


def evaluate(
    run: Run,
    split: str | None,
    cache: Caches | None = None,
    model: str = "llm",
    bootstrap: int | None = None,
    manifest: Path | None = None,
    without: Sequence[str] = (),
    grounding: bool = False,
) -> Evaluation:
    """Translates a split with beam search and scores it, from the cache if it holds the split, else from the videos.
    The cache defaults to the run's own, those of a model of several streams to those it was trained from; the split to
    test. With a `manifest`, its clips (of all splits, unless one is named) are read from video instead. Streams in
    `without` are left out. With `grounding` it measures whether the model looks at the video (grounding/).

    Writes eval/SPLIT.json and eval/SPLIT.tsv (models other than llm: eval/MODEL.SPLIT.*), and for a `manifest`
    eval/lists/NAME.*; the grounding of each clip to grounding.SPLIT.jsonl next to them. With several processes
    (torchrun) each translates its shard of the clips; all get all hypotheses, and the main process writes."""
    if split is not None:
        require_split_name(split)
    if manifest is not None and cache is not None:
        raise InputError("--features: the clips of --manifest are read from their videos. Omit one of the two.")
    again = run.command("eval", split=split, manifest=manifest, model=model, without=list(without), grounding=grounding)
    listed = None if manifest is None else read_list(manifest, split)
    split = split or "test" if listed is None else listed.label
    if model not in MODELS:
        raise InputError(f"--model {model}: no such model. Use {', '.join(MODELS)}.")
    if bootstrap is not None:
        check_resamples(bootstrap)
    require_scoring(run.config)  # fails before hours of translating rather than after
    join()
    device = pick_device(run.config.compute.device)
    (translator, tokenizer, specs, visual), weights = _loaded(run, model)
    leave_out(translator, specs, without)
    _require_its_features(run, model, specs)
    if is_main_process():
        require_writable(run.evaluation)  # for the same reason
    trained = cached_split(run, "train", cache, specs, model) if grounding else None
    cached = None if listed else cached_split(run, split, cache, specs, model)
    translator.to(device)
    read: ClipSplit | None = cached
    if cached is not None:
        references, origins = cached.texts, cached.origins
        with progress_counter(f"translating {split}", len(cached), 0) as show:
            hypotheses = decode_cached(translator, cached, tokenizer, run.config.generation, show)
    else:
        clips = listed.clips if listed else require_split(run, main_process_first(lambda: ensure_clips(run)), split)
        references, origins = [clip.text for clip in clips], [clip.origin for clip in clips]
        keep: list[EncodedClip] | None = [] if grounding else None
        batches = _from_video(run, clips, specs, visual, listed, keep)
        with progress_counter(f"translating {split}", len(clips), 0) as show:
            hypotheses = gather_hypotheses(
                [clip.id for clip in clips],
                lambda: decode(translator, batches, tokenizer, run.config.generation, show=show),
            )
        read = None if keep is None else _kept(clips, keep)
    _log_notices(hypotheses, translator.positions)
    references = references_of(run.config, references, tokenizer)
    done = Translated(run, model, split, hypotheses, references, tuple(without))
    with done.kept_until_scored():
        scores = score_hypotheses(run.config, hypotheses, references, bootstrap, weights)
        parts = score_parts(run.config, hypotheses, references, origins, weights)
        table = done.save(scores, parts, weights, again)
    grounded = None
    if read is not None and grounding:
        grounded = ground(run, (translator, tokenizer), read, trained, hypotheses, table)
    return Evaluation(model, split, tuple(hypotheses), tuple(references), scores, table, parts, grounded)


def _log_notices(hypotheses: Sequence[Hypothesis], positions: int | None) -> None:
    notice = truncation_notice(hypotheses, positions)
    if notice is not None:
        log(notice)
    if not any(hypothesis.texts[0].strip() for hypothesis in hypotheses):
        log(f"all {len(hypotheses):,} hypotheses are empty, so BLEU, chrF and ROUGE-L are 0")


_Loaded = tuple[SignTranslator, Tokenizer, Specs, VisualCheckpoint | None]


def _loaded(run: Run, model: str) -> tuple[_Loaded, dict[str, Any]]:
    """Loads a translator with the record of exactly its weights: a training that ends meanwhile replaces both."""
    path = record_of(run, model)
    for _ in range(ATTEMPTS):
        before = read_json(path) if path.is_file() else {}
        loaded = load_translator(run, model)
        record = read_json(path)
        if identity_of(before) == identity_of(record):
            return loaded, record
    raise SltCacheError(f"{path.parent}: another training keeps replacing it. Run the command later.")


def load_translator(run: Run, model: str) -> _Loaded:
    """Loads the translator, its tokenizer, the spec of its features or of each stream, and the encoder if that is part
    of the model."""
    if model == "visual" or MODELS[model].own_encoder:
        visual = load_visual(run.visual / "best") if model == "visual" else load_end_to_end(*_end_to_end(run, model))
        plain_features = run.config.features.model_copy(update={"level": "sign"})
        spec = visual.spec(plain_features, run.config.augmentation)
        return visual.model.translator, visual.tokenizer, spec, visual
    checkpoint: LlmCheckpoint = load_llm(run.folder / model / "best")
    return checkpoint.model, checkpoint.tokenizer, checkpoint.specs, None


def _require_its_features(run: Run, model: str, specs: Specs) -> None:
    """Raises InputError if the command line asks for other features than the model was trained on. Streams say
    themselves what they are."""
    if not isinstance(specs, FeatureSpec):
        return
    for name in ("level", "dtype", "precision", "views", "view_seed"):
        asked, made = getattr(run.config.features, name), getattr(specs, name)
        if f"features.{name}" in named(run.overrides) and made is not None and asked != made:
            raise InputError(
                f"features.{name}: {run.folder / model} was trained with {made}, asked for {asked}. Omit the setting."
            )


def _end_to_end(run: Run, model: str) -> tuple[Path, str]:
    """Returns the folder of a jointly trained model, and the command that trains it."""
    return run.folder / model / "best", run.command(MODELS[model].words)


def cached_split(run: Run, split: str, given: Caches | None, specs: Specs, model: str) -> CachedSplit | None:
    """Returns the split in the cache, or in those of all streams; None if it has to be read from video. Raises
    InputError if its features differ from those the model was trained on."""
    if MODELS[model].own_encoder:
        return None
    if not isinstance(specs, FeatureSpec):
        return cached_streams(run, split, given, specs, model)
    if isinstance(given, Mapping) and len(given) > 1:
        raise InputError(f"--features: {run.folder / model} was trained on a single stream. Name one cache.")
    cache = next(iter(as_named(given).values()), run.features if run.features.exists() else None)
    if cache is None or split not in (file := CacheFile(cache)).splits:
        return None
    level = FeatureCache(file, split).spec.level
    if model == "visual" and level in ("frame", "hidden"):
        return None  # stage 1 alone reads sign-wise features, whatever stage 2 uses
    try:
        return open_features(run, file, split, specs)
    except FeaturesDiffer as error:
        raise _other_features(run, model, error) from error


def cached_streams(
    run: Run, split: str, given: Caches | None, specs: Mapping[str, FeatureSpec], model: str
) -> CachedSplit | None:
    """Returns the split in the caches of all streams; None, logging which lack it, if it has to be read from video."""
    record = require_llm(run.folder / model / "best")
    paths = caches_of_streams(run, record, specs, as_named(given))
    files = {name: CacheFile(path) for name, path in paths.items()}
    lacking = [f"{file.path} (stream {name})" for name, file in files.items() if split not in file.splits]
    if lacking:
        log(f"no split {split} in {', '.join(lacking)}")
        return None
    try:
        return open_streams(run, files, split, specs)
    except FeaturesDiffer as error:
        raise _other_features(run, model, error) from error


def _other_features(run: Run, model: str, error: FeaturesDiffer) -> InputError:
    again = run.command("demo" if MODELS[model] is BASELINE else "train-llm --restart")
    return InputError(
        f"{error.path}: not the features that {run.folder / model} was trained on ({error.fields}). "
        f"Train it again: {again}; or name its own cache with --features."
    )


def _from_video(
    run: Run,
    clips: Sequence[Clip],
    specs: Specs,
    visual: VisualCheckpoint | None,
    listed: ClipList | None,
    keep: list[EncodedClip] | None,
) -> Iterable[EncodedBatch]:
    """Yields batches of this rank's shard, in the order of the clips, which are not sorted by length: the encoder is
    the bottleneck, and would have to wait for whole windows of clips. Encoded clips are added to `keep`, if given."""
    found: Mapping[str, Encoder] = {"": visual} if visual is not None else encoders_of(run, specs)
    for one in found.values():
        require_readable(run, clips, one.video.fps, None if listed is None else listed.path)
    where = "" if listed else f"{clips[0].split} is in no cache for this model: "
    log(f"{where}reading {len(clips)} videos")
    of_streams = by_name(specs)
    if any(spec.boxes for spec in of_streams.values()) and any(clip.box is None for clip in clips):
        log("The training's frames were cropped to boxes; clips without a box are read as whole frames.")
    mine = shard(clips, run.config.generation.batch_size)
    encoded = [_encoded(run, one, of_streams[name], mine) for name, one in found.items()]
    read = usable(joined(encoded))
    return packed(read if keep is None else _keeping(read, keep), run.config.generation.batch_size)


def _keeping(encoded: Iterator[EncodedClip], keep: list[EncodedClip]) -> Iterator[EncodedClip]:
    for clip in encoded:
        keep.append(clip)
        yield clip


def _kept(clips: Sequence[Clip], keep: list[EncodedClip]) -> KeptSplit:
    """Returns the clips that all processes kept, in the order of the list."""
    of_id = dict(gather_object(lambda: [(one.end.clip.id, arrays_of(one.streams)) for one in keep]))
    languages = {clip.id: clip.language for clip in clips if clip.language}
    kept = [of_id[clip.id] for clip in clips]
    return KeptSplit([clip.id for clip in clips], [clip.text for clip in clips], kept, languages)


def _encoded(run: Run, encoder: Encoder, spec: FeatureSpec, clips: Sequence[Clip]) -> Iterator[EncodedClip | Unusable]:
    events = read_ahead(plain(clips), reader_of(encoder, run.config.video.decoder), run.config.compute.readers)
    device = pick_device(run.config.compute.device)
    return encode(frozen_encoder(encoder, spec, device, run.config.features.batch_frames), events)
