"""Files of the grounding of a split, one JSON object for each clip, next to its sentences in eval/."""

import json
from collections.abc import Sequence
from pathlib import Path

from slt_cache.advice import command
from slt_cache.errors import InputError
from slt_cache.files import write_text
from slt_cache.grounding.measure import GroundedClip


def grounding_file(table: Path) -> Path:
    """Returns the path of the grounding of the sentences in a table of eval/: grounding.SPLIT.jsonl for SPLIT.tsv."""
    return table.with_name(f"grounding.{table.stem}.jsonl")


def write_grounding(table: Path, clips: Sequence[GroundedClip]) -> Path:
    """Writes the grounding of the sentences of a table, complete or not at all."""
    path = grounding_file(table)
    write_text(path, "".join(json.dumps(clip.to_json(), ensure_ascii=False) + "\n" for clip in clips))
    return path


def read_grounding(path: Path) -> list[GroundedClip]:
    """Reads the grounding of each clip. Raises InputError for any other file."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
        return [GroundedClip.from_json(json.loads(line)) for line in lines if line]
    except (ValueError, KeyError, TypeError) as error:
        again = command("eval --grounding", run=path.parents[1])
        raise InputError(f"{path}: not a grounding of clips ({error!r}). Delete it and run {again} again.") from error
