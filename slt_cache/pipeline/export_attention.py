"""Export of attention, evidence of the video and hidden states of a split as arrays, one file for each clip."""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from slt_cache.checkpoints.record import identity_of
from slt_cache.corpora.registry import language_code
from slt_cache.decoding.search import decode_cached
from slt_cache.device import pick_device
from slt_cache.errors import InputError
from slt_cache.features.clip_names import stem_of
from slt_cache.features.streams import CachedSplit
from slt_cache.files import remove_abandoned, write_json
from slt_cache.grounding.alterations import mean_step
from slt_cache.grounding.arrays import clip_arrays, write_arrays
from slt_cache.grounding.evidence import Reader
from slt_cache.hashes import RECORD_FILE
from slt_cache.locks import require_writable
from slt_cache.pipeline.clip_list import require_split_name
from slt_cache.pipeline.evaluate import cached_split, load_translator
from slt_cache.progress import progress_counter
from slt_cache.reading import read_json, read_object
from slt_cache.runs.eval_files import file_stem, is_of_these_weights, passing_settings, record_of
from slt_cache.runs.evaluations import read_table
from slt_cache.runs.run import Run
from slt_cache.runs.streams import Caches
from slt_cache.runs.variants import MODELS

AT_ONCE = 16
"""Clips of a block, which is computed before any of them is written."""


@dataclass(frozen=True)
class ExportedAttention:
    """What was written."""

    folder: Path
    split: str
    clips: int
    written: int
    """Clips that this call wrote; the others were there already."""


def export_attention(
    run: Run, split: str = "test", cache: Caches | None = None, model: str = "llm", out: Path | None = None
) -> ExportedAttention:
    """Writes an .npz for each clip of a cached split into `out`, by default attention/SPLIT in the run folder (models
    other than llm: attention/MODEL.SPLIT), with the arrays of grounding/arrays.py for its hypothesis. Hypotheses are
    those of `eval` if it used these weights, and are translated otherwise. Existing files are kept, so that a stopped
    export resumes.

    Raises InputError if the split is in no cache for this model, or `out` holds arrays of other weights or
    sentences."""
    require_split_name(split)
    if model not in MODELS:
        raise InputError(f"--model {model}: no such model. Use {', '.join(MODELS)}.")
    folder = run.folder / "attention" / file_stem(model, split) if out is None else out
    translator, tokenizer, specs, _ = load_translator(run, model)
    clips = cached_split(run, split, cache, specs, model)
    if clips is None:
        raise InputError(
            f"{run.folder / model}: no cache has its features of {split}, and arrays are made from cached features. "
            f"Extract them: {run.command('extract-features', split=split)}"
        )
    trained = cached_split(run, "train", cache, specs, model)
    require_writable(folder)
    translator.to(pick_device(run.config.compute.device))
    blank = mean_step(clips if trained is None else trained)
    reader = Reader(translator, tokenizer, blank, language_code(run.config))
    sentences = _sentences(run, reader, clips, model)
    _require_same(run, folder, clips, sentences, model)
    missing = {place for place, clip_id in enumerate(clips.ids) if not _file(folder, clip_id).is_file()}
    _write(reader, clips, sentences, folder, missing)
    return ExportedAttention(folder, split, len(clips), len(missing))


def _file(folder: Path, clip_id: str) -> Path:
    return folder / f"{stem_of(clip_id)}.npz"


def _sentences(run: Run, reader: Reader, clips: CachedSplit, model: str) -> list[str]:
    """Returns the hypothesis of each clip."""
    table = run.evaluation / f"{file_stem(model, clips.split)}.tsv"
    if not passing_settings(run) and is_of_these_weights(run, model, clips.split):
        saved = {one.clip_id: one.hypothesis for one in read_table(table)}
        if all(clip_id in saved for clip_id in clips.ids):
            return [saved[clip_id] for clip_id in clips.ids]
    with progress_counter(f"translating {clips.split}", len(clips), 0) as show:
        found = decode_cached(reader.translator, clips, reader.tokenizer, run.config.generation, show)
    return [one.texts[0] for one in found]


def _require_same(run: Run, folder: Path, clips: CachedSplit, sentences: Sequence[str], model: str) -> None:
    """Writes what the arrays are made from; raises InputError if the folder holds others."""
    made_from = {
        "weights": identity_of(read_json(record_of(run, model))),
        "clips_sha256": clips.clips_sha256,
        "sentences_sha256": hashlib.sha256("\n".join(sentences).encode()).hexdigest(),
    }
    record = folder / RECORD_FILE
    if record.is_file() and read_object(record) != made_from:
        raise InputError(f"{folder}: holds arrays of other weights, clips or sentences. Choose another --out.")
    if not record.is_file() and folder.is_dir() and any(folder.iterdir()):
        raise InputError(f"{folder}: is not empty, and no folder of this command. Choose another --out.")
    write_json(record, made_from)
    remove_abandoned(folder)


def _write(
    reader: Reader, clips: CachedSplit, sentences: Sequence[str], folder: Path, missing: Collection[int]
) -> None:
    """Writes the files of the missing clips. Batches are those of a whole export, so that a resumed one has the same
    bytes."""
    done = len(clips) - len(missing)
    with progress_counter("arrays", len(clips), done) as show:
        for first in range(0, len(clips), AT_ONCE):
            block = range(first, min(first + AT_ONCE, len(clips)))
            here = [place for place in block if place in missing]
            if not here:
                continue
            features = [clips.row(place * clips.views) for place in block]
            languages = [clips.languages.get(clips.ids[place], "") for place in block]
            found = clip_arrays(reader, features, [sentences[place] for place in block], languages)
            for place in here:
                known = {"clip_id": clips.ids[place], "reference": clips.texts[place]}
                write_arrays(_file(folder, clips.ids[place]), {**known, **found[place - first]})
            done += len(here)
            show(done)
