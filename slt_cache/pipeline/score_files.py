"""The scorer alone, on text files."""

from pathlib import Path

from slt_cache.errors import InputError
from slt_cache.metrics.scores import PRESETS, Score, score


def score_files(hypotheses: Path, references: Path, preset: str) -> tuple[int, dict[str, Score]]:
    """Number of sentences and their scores. Where every line of both files is `id|sentence`, lines are paired by id,
    else by number. Raises InputError where they do not pair up."""
    if preset not in PRESETS:
        raise InputError(f"--preset {preset}: no such preset. Use {', '.join(PRESETS)}.")
    found, wanted = _lines(hypotheses), _lines(references)
    found_by_id, wanted_by_id = _by_id(hypotheses, found), _by_id(references, wanted)
    if (found_by_id is None) != (wanted_by_id is None):
        raise InputError(
            f"{hypotheses} and {references}: one has id|sentence lines, the other has none. Give both ids."
        )
    if found_by_id is not None and wanted_by_id is not None:
        apart = found_by_id.keys() ^ wanted_by_id.keys()
        if apart:
            raise InputError(
                f"{hypotheses} and {references}: {len(apart)} ids stand in one of them only, such as "
                f"{sorted(apart)[0]!r}. Score the same clips."
            )
        found = [found_by_id[clip_id] for clip_id in wanted_by_id]
        wanted = list(wanted_by_id.values())
    if len(found) != len(wanted):
        raise InputError(
            f"{hypotheses} has {len(found)} lines and {references} has {len(wanted)}. They must pair up line by line."
        )
    return len(wanted), score(found, wanted, preset)


def _lines(path: Path) -> list[str]:
    if not path.is_file():
        raise InputError(f"{path}: there is no such file. Name a text file, one sentence a line.")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text (byte {error.start}). Save it as UTF-8.") from error
    if not text.strip():
        raise InputError(f"{path}: the file is empty. Write one sentence a line.")
    return text.removesuffix("\n").split("\n")


def _by_id(path: Path, lines: list[str]) -> dict[str, str] | None:
    """`id|sentence` lines by id; None where the lines are not all of that form. InputError for an id that repeats."""
    pairs = [line.partition("|") for line in lines]
    if not pairs or not all(bar for _, bar, _ in pairs):
        return None
    by_id: dict[str, str] = {}
    for clip_id, _, text in pairs:
        if clip_id in by_id:
            raise InputError(f"{path}: the id {clip_id!r} stands on two lines. Give each clip one.")
        by_id[clip_id] = text
    return by_id
