"""A trained model over a split: hypotheses and scores, printed and saved."""

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from slt_cache.advice import command
from slt_cache.checkpoints.end_to_end import load_end_to_end
from slt_cache.checkpoints.record import identity_of
from slt_cache.checkpoints.translator import LlmCheckpoint, load_llm
from slt_cache.checkpoints.visual import VisualCheckpoint, load_visual
from slt_cache.corpora.base import Clip
from slt_cache.decoding.encode import encode, packed, usable
from slt_cache.decoding.search import EncodedBatch, Hypothesis, cut_notice, decode, decode_cached, gather_hypotheses
from slt_cache.device import pick_device
from slt_cache.distributed.processes import barrier, is_main_process, join, main_process_first, shard
from slt_cache.errors import InputError, SltCacheError
from slt_cache.features.cache import FeatureCache, FeaturesDiffer
from slt_cache.features.file import CacheFile
from slt_cache.features.spec import FeatureSpec
from slt_cache.files import replacing, write_text
from slt_cache.hashes import RECORD_FILE, file_sha256, read_signed, write_signed
from slt_cache.locks import require_writable
from slt_cache.metrics.bootstrap import check_resamples
from slt_cache.metrics.scores import Score
from slt_cache.models.translators import SignTranslator
from slt_cache.pipeline.clip_list import ClipList, read_list, require_split_name
from slt_cache.pipeline.encoder import encoder_of, frozen_encoder
from slt_cache.pipeline.feature_spec import feature_spec, open_features
from slt_cache.pipeline.prepare import ensure_clips, require_split
from slt_cache.pipeline.probe import require_readable
from slt_cache.progress import log, progress_counter
from slt_cache.reading import read_json
from slt_cache.runs.run import END_TO_END, MODELS, Run
from slt_cache.runs.scoring import choices_of, preset_of, rounded, score_hypotheses
from slt_cache.runs.settings_use import named
from slt_cache.text.tokenizer import Tokenizer
from slt_cache.video.chunks import PieceReader, plain
from slt_cache.video.reader_pool import read_ahead

WEIGHTS = "weights"
EARLIER = "earlier"
"""In the names of scores of weights that were replaced while they were being scored."""
ATTEMPTS = 3


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


def evaluate(
    run: Run,
    split: str | None,
    cache: Path | None = None,
    model: str = "llm",
    bootstrap: int | None = None,
    manifest: Path | None = None,
) -> Evaluation:
    """Translates the split with beam search and scores it, from the cache where it holds the split, else from the
    videos. Without a cache, the run's own is used if there is one; without a split, it is test. With a `manifest`,
    its clips (of all splits, unless one is named) are read from their videos instead.

    Writes eval/SPLIT.json and eval/SPLIT.tsv (stage 1 and controls: eval/MODEL.SPLIT.*), and for a `manifest`
    eval/lists/NAME.*. Of several processes (torchrun) each translates its share of the clips; all get all of them, and
    the leader writes."""
    if split is not None:
        require_split_name(split)
    if manifest is not None and cache is not None:
        raise InputError("--features: the clips of --manifest are read from their videos. Leave one of them out.")
    again = run.command("eval", split=split, manifest=manifest, model=model)
    listed = None if manifest is None else read_list(manifest, split)
    split = split or "test" if listed is None else listed.label
    if model not in MODELS:
        raise InputError(f"--model {model}: no such model. Use {', '.join(MODELS)}.")
    if bootstrap is not None:
        check_resamples(bootstrap)
    preset_of(run.config)  # its error before hours of translating, and not after
    join()
    device = pick_device(run.config.compute.device)
    (translator, tokenizer, spec, visual), weights = _loaded(run, model)
    _require_its_features(run, model, spec)
    if is_main_process():
        require_writable(run.evaluation)  # for the same reason
    held = (
        None if listed else _held(run, split, cache or (run.features if run.features.exists() else None), spec, model)
    )
    translator.to(device)
    if held is not None:
        references = held.texts
        with progress_counter(f"translating {split}", len(held), 0) as show:
            hypotheses = decode_cached(translator, held, tokenizer, run.config.generation, show)
    else:
        clips = listed.clips if listed else require_split(run, main_process_first(lambda: ensure_clips(run)), split)
        batches = _from_video(run, clips, spec, visual, listed)
        references = [clip.text for clip in clips]
        with progress_counter(f"translating {split}", len(clips), 0) as show:
            hypotheses = gather_hypotheses(
                [clip.id for clip in clips],
                lambda: decode(translator, batches, tokenizer, run.config.generation, show=show),
            )
    notice = cut_notice(hypotheses, translator.positions)
    if notice is not None:
        log(notice)
    if not any(hypothesis.texts[0].strip() for hypothesis in hypotheses):
        log(f"all {len(hypotheses):,} hypotheses are empty, so every score is 0")
    with _kept_until_scored(run, model, split, hypotheses, references):
        scores = score_hypotheses(run.config, hypotheses, references, bootstrap)
        return _save(run, model, split, hypotheses, references, scores, weights, again)


_Loaded = tuple[SignTranslator, Tokenizer, FeatureSpec, VisualCheckpoint | None]


def _loaded(run: Run, model: str) -> tuple[_Loaded, dict[str, Any]]:
    """What `load_translator` gives, and the record of just these weights: a training that ends meanwhile replaces
    both."""
    for _ in range(ATTEMPTS):
        path = _best(run, model) / RECORD_FILE
        before = read_json(path) if path.is_file() else {}
        loaded = load_translator(run, model)
        record = read_json(path)
        if identity_of(before) == identity_of(record):
            return loaded, record
    raise SltCacheError(f"{_best(run, model)}: another training replaces it again and again. Run the command later.")


def load_translator(run: Run, model: str) -> tuple[SignTranslator, Tokenizer, FeatureSpec, VisualCheckpoint | None]:
    """The translator, the features that it wants, and the encoder where it is loaded anyway."""
    if model == "visual" or model in END_TO_END:
        visual = load_visual(run.visual / "best") if model == "visual" else load_end_to_end(*_end_to_end(run, model))
        plain_features = run.config.features.model_copy(update={"level": "sign"})
        spec = feature_spec(visual, plain_features, run.config.augmentation)
        return visual.model.translator, visual.tokenizer, spec, visual
    checkpoint: LlmCheckpoint = load_llm(run.folder / model / "best")
    return checkpoint.model, checkpoint.tokenizer, checkpoint.spec, None


def _require_its_features(run: Run, model: str, spec: FeatureSpec) -> None:
    """Raises InputError if the command line asks for other features than the model was trained on."""
    for name in ("level", "dtype", "precision", "views", "view_seed"):
        asked, made = getattr(run.config.features, name), getattr(spec, name)
        if f"features.{name}" in named(run.overrides) and made is not None and asked != made:
            raise InputError(
                f"features.{name}: {run.folder / model} was trained with {made}, asked for {asked}. "
                "Leave the setting out."
            )


def _end_to_end(run: Run, model: str) -> tuple[Path, str]:
    """Folder, and the command that trains it."""
    return run.folder / model / "best", run.command(END_TO_END[model])


def _held(run: Run, split: str, cache: Path | None, spec: FeatureSpec, model: str) -> FeatureCache | None:
    """The split in the cache; None where it is not there and has to be read from video. Refuses features that are
    others than the model was trained on."""
    if model in END_TO_END or cache is None or split not in (file := CacheFile(cache)).splits:
        return None
    level = FeatureCache(file, split).spec.level
    if model == "visual" and level in ("frame", "hidden"):
        return None  # stage 1 alone reads sign-wise features, whatever stage 2 was given
    try:
        return open_features(run, file, split, spec)
    except FeaturesDiffer as error:
        again = run.command("demo" if model == "control" else "train-llm --restart")
        raise InputError(
            f"{cache}: not the features that {run.folder / model} was trained on ({error.fields}). "
            f"Train it again: {again}; or name its own cache with --features."
        ) from error


def _from_video(
    run: Run, clips: Sequence[Clip], spec: FeatureSpec, visual: VisualCheckpoint | None, listed: ClipList | None
) -> Iterable[EncodedBatch]:
    """Batches of this process's share, in the order of the clips. They are not sorted by length: the encoder takes the
    time here, and would have to wait for whole windows of clips."""
    visual = visual or encoder_of(run, spec)
    require_readable(run, clips, visual.video.fps, None if listed is None else listed.path)
    device = pick_device(run.config.compute.device)
    where = "" if listed else f"{clips[0].split} is in no cache for this model: "
    log(f"{where}reading {len(clips)} videos")
    mine = shard(clips, run.config.generation.batch_size)
    events = read_ahead(plain(mine), PieceReader(visual.video), run.config.compute.workers)
    encoded = usable(encode(frozen_encoder(visual, spec, device, run.config.features.batch_frames), events))
    return packed(encoded, run.config.generation.batch_size)


@contextmanager
def _kept_until_scored(
    run: Run, model: str, split: str, hypotheses: Sequence[Hypothesis], references: Sequence[str]
) -> Iterator[None]:
    """Saves what was translated in a table of its own until its scores are saved; if the block fails, it stays.

    It does not take the place of the table of an earlier evaluation, whose scores would then be others."""
    kept = run.evaluation / f"{file_stem(model, split)}.unscored.tsv"
    if is_main_process():
        write_text(kept, table_text(hypotheses, references))
    try:
        yield
    except BaseException:
        if is_main_process():
            choices = {name: value for name, value in asdict(choices_of(run.config)).items() if value != "keep"}
            scored = command("score", kept, kept, preset=preset_of(run.config), **choices)
            log(f"the translations are kept: {scored}")
        raise
    if is_main_process():
        kept.unlink(missing_ok=True)


def table_text(hypotheses: Sequence[Hypothesis], references: Sequence[str]) -> str:
    """Tab-separated lines of id, reference, hypothesis. What would break the table is written as a space."""
    lines = ["id\treference\thypothesis"]
    for hypothesis, reference in zip(hypotheses, references, strict=True):
        fields = (hypothesis.clip_id, reference, hypothesis.texts[0])
        lines.append("\t".join(re.sub(r"[\t\r\n]", " ", field) for field in fields))
    return "\n".join(lines) + "\n"


def _save(
    run: Run,
    model: str,
    split: str,
    hypotheses: Sequence[Hypothesis],
    references: Sequence[str],
    scores: dict[str, Score],
    weights: dict[str, Any],
    again: str,
) -> Evaluation:
    """`again` is the command that scores the same clips once more."""
    replaced = identity_of(read_json(_best(run, model) / RECORD_FILE)) != identity_of(weights)
    changed = passing_settings(run)
    stem = ".".join([file_stem(model, split), *map(_in_name, changed.items()), *([EARLIER] if replaced else [])])
    table = run.evaluation / f"{stem}.tsv"
    if is_main_process():
        values = {
            "model": model,
            "split": split,
            "settings": {**changed, **({WEIGHTS: EARLIER} if replaced else {})},
            "made_from": _made_from(run, weights, references),
            "clips": len(references),
            "scores": rounded(scores),
            "signatures": {key: found.signature for key, found in scores.items()},
            "hypotheses": str(table),
            "steps_left_out": {hypothesis.clip_id: hypothesis.cut for hypothesis in hypotheses if hypothesis.cut},
        }
        _write(table, table_text(hypotheses, references), values)
    barrier()
    if replaced:
        raise SltCacheError(
            f"{_best(run, model)}: trained again while its earlier weights were being scored. Their scores are in "
            f"{table.with_suffix('.json')}; score the new ones: {again}"
        )
    return Evaluation(model, split, tuple(hypotheses), tuple(references), scores, table)


def _write(table: Path, text: str, values: dict[str, Any]) -> None:
    """The table and, next to it, the scores: both are on disk before either takes the place of an earlier one, and the
    scores name the hash of their table."""
    with replacing(table.with_suffix(".json")) as new_scores, replacing(table) as new_table:
        write_text(new_table, text)
        write_signed(new_scores, {**values, "table_sha256": file_sha256(new_table)})


def saved_scores(run: Run, model: str, split: str, references: Sequence[str]) -> dict[str, float] | None:
    """Scores of an earlier evaluation, where it had the same weights, sentences and settings."""
    saved = _saved(run, model, split)
    if saved is None:
        return None
    asked = _made_from(run, read_json(_best(run, model) / RECORD_FILE), references)
    same = all(saved["made_from"][name] == asked[name] for name in asked if name != WEIGHTS)
    same = same and identity_of(saved["made_from"][WEIGHTS]) == identity_of(asked[WEIGHTS])
    scores: dict[str, float] = saved["scores"]
    return scores if same else None


def is_of_these_weights(run: Run, model: str, split: str) -> bool:
    """Whether an earlier evaluation had the weights that the model has now."""
    saved, record = _saved(run, model, split), _best(run, model) / RECORD_FILE
    if saved is None or not record.is_file():
        return False
    return identity_of(saved["made_from"][WEIGHTS]) == identity_of(read_json(record))


def _saved(run: Run, model: str, split: str) -> dict[str, Any] | None:
    """An earlier evaluation; None if there is none, or if its table is that of another one."""
    path = run.evaluation / f"{file_stem(model, split)}.json"
    table = path.with_suffix(".tsv")
    if not path.is_file():
        return None
    saved = read_signed(path)
    belongs = table.is_file() and saved.get("table_sha256") in (None, file_sha256(table))
    return saved if belongs else None


def passing_settings(run: Run) -> dict[str, Any]:
    """Settings of search and scoring on this command line that are not the run's own: their results go beside those of
    the run's own settings, and not over them."""
    saved = run.saved_config() if run.overrides or run.named_config is not None else None
    if saved is None:
        return {}
    own, now = (config.model_dump(mode="json") for config in (saved, run.config))
    return {
        f"{section}.{name}": value
        for section in ("generation", "scoring")
        for name, value in now[section].items()
        if value != own[section][name] and name not in ("dev_beams", "batch_size")
    }


def _in_name(changed: tuple[str, Any]) -> str:
    """`num_beams-1`"""
    setting, value = changed
    return f"{setting.rpartition('.')[2]}-{re.sub(r'[^A-Za-z0-9_-]', '_', str(value))}"


def file_stem(model: str, split: str) -> str:
    """Of the files in eval/ that hold a model's scores and sentences; for a list of clips, in a folder there."""
    folder, slash, name = split.rpartition("/")
    return f"{folder}{slash}{name if model == 'llm' else f'{model}.{name}'}"


def _made_from(run: Run, weights: dict[str, Any], references: Sequence[str]) -> dict[str, Any]:
    """All that decides the scores; `weights` is the record of those that were used."""
    return {
        WEIGHTS: weights,
        "generation": run.config.generation.model_dump(mode="json", exclude={"dev_beams"}),
        "preset": preset_of(run.config),
        "choices": asdict(choices_of(run.config)),
        "references_sha256": hashlib.sha256("\n".join(references).encode()).hexdigest(),
    }


def _best(run: Run, model: str) -> Path:
    return run.folder / model / "best"
