"""Scoring of text files and of the tables of `eval`."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from slt_cache.config import text_choices
from slt_cache.corpora.characters import nfc
from slt_cache.corpora.official import without_breaks
from slt_cache.corpora.own_table import Rows, lines_of_own, read_text, remarks, rows_as_they_are, rows_of_own
from slt_cache.errors import InputError
from slt_cache.hashes import file_sha256, read_signed
from slt_cache.metrics.base import Score
from slt_cache.metrics.normalization import FINAL_DOTS, RAW, TextChoices
from slt_cache.metrics.presets import preset_named
from slt_cache.metrics.registry import METRICS, with_requested
from slt_cache.metrics.scores import RESAMPLES, Comparison, compare, score
from slt_cache.metrics.wer import words_counted
from slt_cache.progress import log, progress_steps

Column = Literal["hypothesis", "reference"]
"""Column to read from a table of `eval`."""


@dataclass(frozen=True)
class ScoredFiles:
    """Scores of one file of hypotheses, and its comparison with another."""

    sentences: int
    scores: dict[str, Score]
    against: dict[str, Comparison]
    """Comparison with another file, by metric; empty without one."""
    words: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Which words each word error rate counts, by metric; empty if none was asked for."""


def choices_for(
    preset: str | None, protocol: str | None, final_dot: str | None, lowercase: bool
) -> tuple[str, TextChoices]:
    """Returns the preset and the choices of a command line, by default plain and no change, or those that a protocol
    has for texts. How they were translated is not known, and the signature says so. Raises InputError for an unknown
    choice and for one that contradicts the protocol."""
    if final_dot is not None and final_dot not in FINAL_DOTS:
        raise InputError(f"--final-dot {final_dot}: no such choice. Use {', '.join(FINAL_DOTS)}.")
    named = {"preset": preset, "final_dot": final_dot, "lowercase": lowercase or None}
    bundle = {} if protocol is None else text_choices(protocol, preset or "plain")
    for name, value in named.items():
        if value is not None and bundle.get(name, value) != value:
            option = f"--{name.replace('_', '-')}"
            raise InputError(
                f"{option} contradicts --protocol {protocol}, which has {bundle[name]}. Omit one of the two."
            )
    chosen = {**bundle, **{name: value for name, value in named.items() if value is not None}}
    stated = "" if protocol is None else f"{protocol}(texts alone)"
    choices = TextChoices(chosen.get("final_dot", "keep"), bool(chosen.get("lowercase", False)), stated)
    return chosen.get("preset", "plain"), choices


def score_files(
    hypotheses: Path,
    references: Path,
    preset: str,
    choices: TextChoices = RAW,
    bootstrap: int | None = None,
    against: Path | None = None,
    metrics: Sequence[str] = (),
) -> ScoredFiles:
    """Scores one file; with `against`, tests whether another file's scores differ (`bootstrap` resamples, else 1000).
    `metrics` are computed in addition to the standard ones.

    If every line is `id|sentence`, lines are paired by id, else by number. A table of `eval` (its first line names the
    columns id, reference, hypothesis) is paired by id, and read from the column of that name. Quotes of csv are removed
    if the whole file is quoted as pandas and spreadsheets do. Raises InputError if the files do not pair up, or all
    references are empty."""
    preset_named(preset, "--preset")
    keys = with_requested(metrics, "--metric")
    for key in keys:
        METRICS[key].check(choices)
    ours, wanted = _Sentences.read(hypotheses, "hypothesis"), _Sentences.read(references, "reference")
    theirs = None if against is None else _Sentences.read(against, "hypothesis")
    found = _paired_with(wanted, ours)
    others = None if theirs is None else _paired_with(wanted, theirs)
    for one in (ours, theirs):
        if one is not None:
            _report_irregularities(one, wanted)
    if len(found) == 1 and (bootstrap is not None or against is not None):
        log("resampling a single sentence always gives that sentence: intervals and p-values mean nothing here")
    with progress_steps("scoring", len(keys) * (1 if others is None else 2), "metric") as step:
        scores = score(found, wanted.texts, preset, choices, bootstrap, step, keys)
        compared = {}
        if others is not None:
            compared = compare(found, others, wanted.texts, preset, choices, bootstrap or RESAMPLES, step, keys)
    words = words_counted(wanted.texts, preset, choices, keys)
    return ScoredFiles(len(wanted.texts), scores, compared, words)


def _report_irregularities(found: "_Sentences", wanted: "_Sentences") -> None:
    """Warns of empty sentences, and of references that differ from those next to the hypotheses. Raises InputError if
    all references are empty."""
    empty = [number for number, text in enumerate(wanted.texts, 1) if not text.strip()]
    if len(empty) == len(wanted.texts):
        raise InputError(f"{wanted.path}: all {len(empty):,} references are empty. Use a file with sentences.")
    if empty:
        log(f"{wanted.path}: {len(empty):,} of {len(wanted.texts):,} references are empty, such as number {empty[0]}")
    if not any(text.strip() for text in found.texts):
        log(f"{found.path}: all {len(found.texts):,} hypotheses are empty, so BLEU, chrF and ROUGE-L are 0")
    pairs = zip(wanted.ids or (), wanted.texts, strict=False)
    differ = [clip_id for clip_id, text in pairs if found.references.get(clip_id, text) != text]
    if differ:
        log(
            f"{found.path} has other references for {len(differ):,} of {len(wanted.texts):,} clips, such as "
            f"{differ[0]!r}; those of {wanted.path} are used"
        )


@dataclass(frozen=True)
class _Sentences:
    """Sentences of a file, in its order."""

    path: Path
    texts: list[str]
    ids: list[str] | None
    """Ids of `id|sentence` lines or of a table; None if lines are sentences alone."""
    references: dict[str, str] = field(default_factory=dict)
    """References by id, if the file is a table that has them."""
    is_table: bool = False

    @classmethod
    def read(cls, path: Path, column: Column) -> "_Sentences":
        """Reads a table of `eval` if the first line names its columns, or `id|sentence` if at least half of the lines
        have a bar. Raises InputError for a line without id, a repeated id, or a table without the column."""
        text = _text(path)
        table = rows_as_they_are(text) if _is_as_eval_wrote_it(path) else rows_of_own(text)
        (_, names), *numbered = table.numbered
        if names[0] == "id" and {"reference", "hypothesis"} & set(names):
            _remark(path, table)
            rows = _rows(path, names, numbered, column)
            ids = _ids(path, [(number, row["id"]) for number, row in rows])
            named = zip(ids, rows, strict=True)
            references = {clip_id: row["reference"] for clip_id, (_, row) in named if "reference" in row}
            return cls(path, [row[column] for _, row in rows], ids, references, is_table=True)
        lines = lines_of_own(text)
        sentences = [line for _, [line] in lines.numbered]
        if 2 * sum("|" in line for line in sentences) < len(sentences):
            _remark(path, lines)
            return cls(path, sentences, None)
        parts = lines_of_own("\n".join(sentences), columns=2, separator="|")
        _remark(path, lines if lines.unquoted else parts)
        for number, values in parts.numbered:
            if len(values) == 1:
                raise InputError(
                    f"{path}, line {number}: no id, but most lines are id|sentence. Give every line an id, or none."
                )
        ids = _ids(path, [(number, clip_id) for number, (clip_id, _) in parts.numbered])
        return cls(path, [sentence for _, (_, sentence) in parts.numbered], ids)


def _is_as_eval_wrote_it(path: Path) -> bool:
    """Returns whether the scores next to a table name its hash: then quotes in its sentences have no meaning."""
    scores = path.with_suffix(".json")
    if path.suffix != ".tsv" or not scores.is_file():
        return False
    try:
        return read_signed(scores).get("table_sha256") == file_sha256(path)
    except InputError:  # the scores are damaged or none at all, and were not asked for
        return False


def _remark(path: Path, rows: Rows) -> None:
    for remark in remarks(rows):
        log(f"{path}: {remark}")


def _rows(
    path: Path, names: list[str], lines: list[tuple[int, list[str]]], column: Column
) -> list[tuple[int, dict[str, str]]]:
    """Returns the numbered lines of a table as columns."""
    if column not in names:
        raise InputError(f"{path}: a table without a column {column!r} (it has {', '.join(names)}). Use another file.")
    if not lines:
        raise InputError(f"{path}: a table without rows. Use another file.")
    rows = []
    for number, fields in lines:
        if len(fields) != len(names):
            raise InputError(
                f"{path}, line {number}: {len(fields)} columns, but the first line names {len(names)}. Repair the line."
            )
        rows.append((number, dict(zip(names, map(without_breaks, fields), strict=True))))
    return rows


def _ids(path: Path, numbered: list[tuple[int, str]]) -> list[str]:
    """Returns the ids, composed (NFC), of numbered lines. Raises InputError for a repeated one."""
    seen: dict[str, int] = {}
    for number, written in numbered:
        clip_id = nfc(written)
        if clip_id in seen:
            raise InputError(
                f"{path}: the id {clip_id!r} is on two lines, {seen[clip_id]} and {number}. Give each clip one line."
            )
        seen[clip_id] = number
    return list(seen)


def _paired_with(wanted: _Sentences, found: _Sentences) -> list[str]:
    """Returns the sentences of `found` in the order of `wanted`. Raises InputError if they do not pair up."""
    if (found.ids is None) != (wanted.ids is None):
        with_ids, without = (wanted, found) if found.ids is None else (found, wanted)
        what = "a column of ids" if with_ids.is_table else "id|sentence lines"
        raise InputError(f"{with_ids.path} has {what}, {without.path} has none. Give both ids, or neither.")
    if found.ids is not None and wanted.ids is not None:
        by_id = dict(zip(found.ids, found.texts, strict=True))
        for one, other in ((found, wanted), (wanted, found)):
            alone = sorted(set(one.ids or ()) - set(other.ids or ()))
            if alone:
                raise InputError(
                    f"{one.path}: {len(alone)} of {len(one.texts)} ids are not in {other.path}, such as {alone[0]!r}. "
                    "Score the same clips."
                )
        return [by_id[clip_id] for clip_id in wanted.ids]
    if len(found.texts) != len(wanted.texts):
        raise InputError(
            f"{found.path} has {len(found.texts)} lines and {wanted.path} has {len(wanted.texts)}. "
            "They must pair up line by line."
        )
    return found.texts


def _text(path: Path) -> str:
    """Returns the text of a file without the last line feed. Raises InputError."""
    text = read_text(path)
    if not text:
        raise InputError(f"{path}: the file is empty. Write one sentence per line.")
    return text.removesuffix("\n")
