"""Table of clips without features, next to the cache: id and reason."""

from collections.abc import Sequence
from pathlib import Path

from slt_cache.features.layout import Failure
from slt_cache.files import write_text


def failures_file(cache: Path, split: str) -> Path:
    """Returns the path of the table of a split."""
    return cache.with_name(f"{cache.stem}.{split}.failed.tsv")


def write_failures(cache: Path, split: str, missing: Sequence[Failure]) -> None:
    """Writes the table, or deletes an old one if nothing is missing."""
    path = failures_file(cache, split)
    if not missing:
        path.unlink(missing_ok=True)
        return
    rows = [f"{failure.clip_id}\t{' '.join(failure.reason.split())}\n" for failure in missing]
    write_text(path, "id\treason\n" + "".join(rows))
