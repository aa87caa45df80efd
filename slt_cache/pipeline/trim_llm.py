"""Vocabulary trimming (`llm trim`): an LLM and a corpus' text in, the same LLM with the tokens that the text needs
out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from transformers.utils import logging

from slt_cache.corpora.base import SPLITS, Clip, of_split
from slt_cache.corpora.manifest import read_manifest, read_own_manifest
from slt_cache.corpora.own_table import read_sentences
from slt_cache.errors import InputError
from slt_cache.files import replacing, write_json
from slt_cache.models.llm.load import load_whole, read_config
from slt_cache.models.llm.trimming import rows_of, token_ids_of, trim_model
from slt_cache.models.saved_lora import IDS_FILE as IDS_FILE
from slt_cache.progress import log, progress_counter
from slt_cache.runs.llm_folders import require_whole_llm
from slt_cache.runs.run import PREPARATION
from slt_cache.text.pretrained import loading
from slt_cache.text.tokenizer import as_llm_reads_it, load_inner, require_end_token
from slt_cache.text.trimmed_tokenizer import (
    IdMap,
    deduplicated,
    marked_special,
    require_same_tokens,
    tokenized,
    trim_tokenizer,
)

REPORT_FILE = "trim.json"
STEPS = 4
"""Steps of the progress bar."""
MEGABYTE = 1_000_000
"""Bytes per megabyte."""
SHOWN = 40
"""Largest number of listed characters in the summary; the report has all."""

logging.disable_progress_bar()


@dataclass(frozen=True)
class HeldOut:
    """Tokens of a held-out split, which did not influence the trimmed vocabulary."""

    pieces: int
    """Number of tokens; trim.json calls them pieces."""
    unknown: int
    """Number of unknown tokens."""
    unknown_before: int
    """Number of unknown tokens with the full vocabulary."""


@dataclass(frozen=True)
class TrimReport:
    """Report of trimming a model."""

    name: str
    out: str
    vocab_before: int
    """Rows of the word embedding before trimming."""
    vocab_after: int
    parameters_before: int
    parameters_after: int
    megabytes_before: float
    """Size of the parameters in their stored precision; 1 MB is 1,000,000 bytes."""
    megabytes_after: float
    megabytes_saved: float
    train_sentences: int
    """Number of distinct train sentences."""
    held_out: dict[str, HeldOut]
    added: list[str]
    """Characters that the full tokenizer loses and that now have a token."""
    changed: int
    """Number of train sentences that still do not survive encoding and decoding."""
    lost: list[str]
    """Characters that these sentences lose."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def read_splits(path: Path) -> tuple[list[str], dict[str, list[str]]]:
    """Reads the sentences of train, and of held-out splits, from a manifest (.tsv), or from a text file with one
    sentence per line, all of it train. Raises InputError if there is no text."""
    if path.suffix == ".tsv":
        clips = _clips(path)
        train, *others = ([clip.text for clip in of_split(clips, split)] for split in SPLITS)
        if not train:
            raise InputError(f"{path}: no clips of train, whose sentences determine what is kept. Add that split.")
        return train, {split: texts for split, texts in zip(SPLITS[1:], others, strict=True) if texts}
    return read_sentences(path, "--text", log), {}


def _clips(path: Path) -> list[Clip]:
    """Reads the clips of a run's manifest, or of a user's."""
    if path.with_name(PREPARATION).is_file():
        return read_manifest(path)
    manifest = read_own_manifest(path)
    for remark in manifest.remarks:
        log(f"{path}: {remark}")
    return manifest.clips


def trim_llm(
    name: str,
    train: Sequence[str],
    held_out: Mapping[str, Sequence[str]],
    out: Path,
    keep_characters: bool = False,
    prompts: Sequence[str] = (),
) -> TrimReport:
    """Writes the LLM (a folder or hub name) into `out` with only the tokens that the train sentences need.

    `held_out` texts by split are counted, but have no influence. An earlier trimmed LLM in `out` is replaced, nothing
    else. Raises InputError if model or text is unavailable, if the kind of tokenizer cannot be trimmed, or if `out`
    holds something else; SltCacheError if a sentence would be tokenized differently."""
    sentences = deduplicated(train)
    if not sentences:
        raise InputError("no sentences to trim by: the text is empty. Write one sentence per line.")
    require_whole_llm(name, "--name")
    _require_free(out, name)
    with progress_counter(f"trimming {name}", STEPS, 0, "step") as show:
        return _trim(name, sentences, prompts, held_out, out, keep_characters, show)


def _trim(
    name: str,
    sentences: Sequence[str],
    prompts: Sequence[str],
    held_out: Mapping[str, Sequence[str]],
    out: Path,
    keep_characters: bool,
    show: Callable[[int], None],
) -> TrimReport:
    """Trims; `show` is called after loading, selecting tokens, writing, and comparing."""
    model, tokenizer = _load(name)
    rows, parameters, size = rows_of(model), _parameters(model), _megabytes(model)
    show(1)
    with replacing(out) as folder:
        folder.mkdir()
        id_map = trim_tokenizer(tokenizer, sentences, _kept_ids(model, tokenizer), keep_characters, folder, prompts)
        _require_rows(tokenizer, id_map, rows)
        show(2)
        trim_model(model, id_map.old_ids, id_map.like)
        model.save_pretrained(folder)
        show(3)
        changed = require_same_tokens(tokenizer, folder, id_map, sentences)
        require_same_tokens(tokenizer, folder, id_map, prompts)
        trimmed = load_inner(str(folder))
        show(STEPS)
        report = TrimReport(
            name=name,
            out=str(out),
            vocab_before=rows,
            vocab_after=rows_of(model),
            parameters_before=parameters,
            parameters_after=_parameters(model),
            megabytes_before=size,
            megabytes_after=_megabytes(model),
            megabytes_saved=round(size - _megabytes(model), 3),
            train_sentences=len(sentences),
            held_out={split: _held_out(tokenizer, trimmed, texts) for split, texts in held_out.items() if texts},
            added=list(id_map.added),
            changed=len(changed),
            lost=sorted({one for sentence, back in changed.items() for one in set(sentence) - set(back)}),
        )
        write_json(folder / IDS_FILE, _ids(id_map))
        write_json(folder / REPORT_FILE, report.to_json())
    return report


def _kept_ids(model: Any, tokenizer: Any) -> set[int]:
    """Returns the ids that are kept whatever the text is: those that the model's settings name, and of a decoder-only
    LLM those that its tokenizer marks as special."""
    special = set() if model.config.is_encoder_decoder else marked_special(tokenizer)
    return token_ids_of(model) | {token for token in special if token < rows_of(model)}


def summary(report: TrimReport) -> str:
    """Returns a line on the savings, one for each held-out split, and one each for added and lost characters."""
    lines = [
        f"{report.vocab_before:,} -> {report.vocab_after:,} tokens, {report.parameters_before:,} -> "
        f"{report.parameters_after:,} parameters, {report.megabytes_before:,.1f} -> {report.megabytes_after:,.1f} MB "
        f"({report.megabytes_saved:,.1f} MB saved) -> {report.out}"
    ]
    for split, counted in report.held_out.items():
        lines.append(
            f"{split}: {counted.unknown:,} of {counted.pieces:,} tokens unknown "
            f"({counted.unknown_before:,} with the full vocabulary)"
        )
    if report.added:
        lines.append(f"added, since the model's own tokenizer loses them: {_some(report.added)}")
    if report.changed:
        missing = f"; lost characters: {_some(report.lost)}" if report.lost else ""
        lines.append(f"{report.changed:,} train sentences cannot be restored from their tokens{missing}")
    return "\n".join(lines)


def _some(characters: Sequence[str]) -> str:
    more = len(characters) - SHOWN
    return " ".join(characters[:SHOWN]) + (f" and {more:,} more" if more > 0 else "")


def _require_free(out: Path, name: str) -> None:
    if Path(name).is_dir() and out.resolve() == Path(name).resolve():
        raise InputError(f"{out}: the model itself; trimming does not replace it. Use another folder with --out.")
    if out.exists() and not (out / REPORT_FILE).is_file() and not (out.is_dir() and not any(out.iterdir())):
        raise InputError(f"{out}: already exists and is not a trimmed LLM. Use another folder with --out.")


def _load(name: str) -> tuple[Any, Any]:
    """Loads model and tokenizer, in the precision that the weights are stored in."""
    with loading(name):
        config = read_config(name)
        inner = load_inner(name)
        require_end_token(name, inner)  # before the weights are read
        return load_whole(name, config=config, dtype="auto").eval(), inner


def _require_rows(tokenizer: Any, id_map: IdMap, rows: int) -> None:
    """Raises InputError if a token of the text has no embedding row; special tokens that were never trained (T5's
    sentinels) may lack one."""
    pairs = zip(id_map.tokens, id_map.old_ids, strict=True)
    beyond = {token for token, old in pairs if old is not None and old >= rows} - set(tokenizer.all_special_tokens)
    if beyond:
        raise InputError(
            f"{tokenizer.name_or_path}: the tokenizer has {len(tokenizer):,} tokens, but the model rows for {rows:,}; "
            "they do not match. Use both from the same download."
        )


def _parameters(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def _megabytes(model: torch.nn.Module) -> float:
    return round(sum(one.numel() * one.element_size() for one in model.parameters()) / MEGABYTE, 3)


def _held_out(tokenizer: Any, trimmed: Any, texts: Sequence[str]) -> HeldOut:
    lines = [as_llm_reads_it(text) for text in texts]
    ids, before = tokenized(trimmed, lines), tokenized(tokenizer, lines)
    return HeldOut(
        pieces=sum(map(len, ids)),
        unknown=sum(one.count(trimmed.unk_token_id) for one in ids),
        unknown_before=sum(one.count(tokenizer.unk_token_id) for one in before),
    )


def _ids(id_map: IdMap) -> dict[str, Any]:
    """Returns the old id of each new one, null for an added token, and the old ids that represented added tokens
    before."""
    like = {id_map.tokens[new]: list(old) for new, old in id_map.like.items()}
    return {"old_ids": list(id_map.old_ids), "added": like}
