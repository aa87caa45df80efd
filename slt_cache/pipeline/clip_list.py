"""Lists of clips outside the run, in a manifest of your own, to score with the run's models."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from slt_cache.corpora.base import SPLITS, Clip, no_such_split, of_split
from slt_cache.corpora.manifest import read_own_manifest
from slt_cache.corpora.own import SOURCE_MANIFEST
from slt_cache.errors import InputError
from slt_cache.progress import log

FOLDER = "lists"
"""Folder in eval/ that separates these scores from those of the run's splits."""


@dataclass(frozen=True)
class ClipList:
    """List of clips to translate and score."""

    path: Path
    clips: list[Clip]
    label: str
    """Label in place of a split in file names: the name of the list with a hash of its content."""


def require_split_name(split: str) -> None:
    """Raises InputError for an unknown split, suggesting the one that is meant."""
    if split not in SPLITS:
        raise InputError(f"--split {split}: no such split; {no_such_split(split)}.")


def read_list(path: Path, split: str | None) -> ClipList:
    """Reads manifest.tsv of a folder, or a file of any name; all splits unless one is named. Raises InputError."""
    if path.is_dir():
        path = path / SOURCE_MANIFEST
    manifest = read_own_manifest(path)
    for remark in manifest.remarks:
        log(f"{path}: {remark}")
    clips = manifest.clips if split is None else of_split(manifest.clips, split)
    if not clips:
        there = ", ".join(name for name in SPLITS if of_split(manifest.clips, name))
        raise InputError(f"{path}: no clips of split {split!r}, only of {there}. Omit --split for all of them.")
    name = path.parent.absolute().name if path.name == SOURCE_MANIFEST else path.stem
    return ClipList(path, clips, f"{FOLDER}/{name}-{_sha256(clips)[:8]}")


def _sha256(clips: Sequence[Clip]) -> str:
    rows = "\n".join(f"{clip.id}\t{clip.video}\t{clip.start}\t{clip.end}\t{clip.text}" for clip in clips)
    return hashlib.sha256(rows.encode(errors="surrogateescape")).hexdigest()
