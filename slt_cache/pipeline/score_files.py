"""The scorer alone, on text files."""

import codecs
from dataclasses import dataclass
from pathlib import Path

from slt_cache.errors import InputError
from slt_cache.metrics.paired import RESAMPLES, Comparison, compare
from slt_cache.metrics.scores import FIGURES, PRESETS, Score, score
from slt_cache.metrics.text_choices import RAW, TextChoices
from slt_cache.pipeline.terminal import stepping


@dataclass(frozen=True)
class ScoredFiles:
    """Scores of one file of hypotheses, and how they compare with another's."""

    sentences: int
    scores: dict[str, Score]
    against: dict[str, Comparison]
    """Empty where there is no other file."""


def score_files(
    hypotheses: Path,
    references: Path,
    preset: str,
    choices: TextChoices = RAW,
    bootstrap: int | None = None,
    against: Path | None = None,
) -> ScoredFiles:
    """Scores one file; with `against`, tests whether another file's scores differ (`bootstrap` resamples, else 1000).

    Where every line of the files is `id|sentence`, lines are paired by id, else by number. Raises InputError where they
    do not pair up."""
    if preset not in PRESETS:
        raise InputError(f"--preset {preset}: no such preset. Use {', '.join(PRESETS)}.")
    ours, wanted = _Sentences.read(hypotheses), _Sentences.read(references)
    found = _paired_with(wanted, ours)
    others = None if against is None else _paired_with(wanted, _Sentences.read(against))
    with stepping("scoring", FIGURES if others is None else 2 * FIGURES, "figure") as step:
        scores = score(found, wanted.texts, preset, choices, bootstrap, step)
        if others is None:
            return ScoredFiles(len(wanted.texts), scores, {})
        compared = compare(found, others, wanted.texts, preset, choices, bootstrap or RESAMPLES, step)
    return ScoredFiles(len(wanted.texts), scores, compared)


@dataclass(frozen=True)
class _Sentences:
    """A file's sentences, in its order."""

    path: Path
    texts: list[str]
    ids: list[str] | None
    """Of the `id|sentence` lines; None where the lines are sentences alone."""

    @classmethod
    def read(cls, path: Path) -> "_Sentences":
        """`id|sentence` where at least half of the lines have a bar; then InputError for a line without, or an id that
        repeats."""
        lines = _lines(path)
        parts = [line.partition("|") for line in lines]
        if 2 * sum(bool(bar) for _, bar, _ in parts) < len(lines):
            return cls(path, lines, None)
        seen: dict[str, int] = {}
        for number, (clip_id, bar, _) in enumerate(parts, 1):
            if not bar:
                raise InputError(
                    f"{path}, line {number}: no id, while most lines are id|sentence. Give every line one, or none."
                )
            if clip_id in seen:
                raise InputError(
                    f"{path}: the id {clip_id!r} stands on two lines, {seen[clip_id]} and {number}. Give each clip one."
                )
            seen[clip_id] = number
        return cls(path, [text for _, _, text in parts], list(seen))


def _paired_with(wanted: _Sentences, found: _Sentences) -> list[str]:
    """The sentences of `found` in the order of `wanted`. Raises InputError where they do not pair up."""
    if (found.ids is None) != (wanted.ids is None):
        with_ids, without = (wanted, found) if found.ids is None else (found, wanted)
        raise InputError(f"{with_ids.path} has id|sentence lines, {without.path} has none. Give both ids, or neither.")
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


def _lines(path: Path) -> list[str]:
    try:
        data = path.read_bytes().removeprefix(codecs.BOM_UTF8)
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such file. Name a text file, one sentence a line.") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}). Name a text file.") from error
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = _one_line_end(data[: error.start].decode("utf-8")).count("\n") + 1
        raise InputError(
            f"{path}, line {line}: not UTF-8 (byte {data[error.start]:#04x}). Save it as UTF-8."
        ) from error
    if not text.strip():
        raise InputError(f"{path}: the file is empty. Write one sentence a line.")
    return _one_line_end(text).removesuffix("\n").split("\n")


def _one_line_end(text: str) -> str:
    """Line ends of Windows and of old Macs as `\\n`."""
    return text.replace("\r\n", "\n").replace("\r", "\n")
