"""Clips that a stage was trained on, each with a hash of its times and sentence, to tell which have changed since."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from slt_cache.corpora.base import Clip
from slt_cache.corpora.fingerprint import times_of
from slt_cache.errors import InputError
from slt_cache.hashes import read_signed, write_signed
from slt_cache.pipeline.cached_clips import counted
from slt_cache.pipeline.prepare import changed_manifest
from slt_cache.runs.run import Run
from slt_cache.runs.unfinished import CLIPS_FILE


def write_clips(folder: Path, clips: Sequence[Clip]) -> None:
    write_signed(folder / CLIPS_FILE, {"clips": _hashes(clips)})


def explain_change(run: Run, folder: Path, clips: Sequence[Clip]) -> str:
    """Returns sentences on how the manifest's clips differ from those trained on in `folder`, and whether the manifest
    is the one that `prepare` wrote; empty if nothing is known."""
    found = [*_changes(folder, _hashes(clips))]
    changed = changed_manifest(run)
    return " ".join([*([f"Since then {'; '.join(found)}."] if found else []), *([changed] if changed else [])])


def _hashes(clips: Sequence[Clip]) -> dict[str, str]:
    return {clip.id: hashlib.sha256(f"{times_of(clip)}\t{clip.text}".encode()).hexdigest()[:12] for clip in clips}


def _changes(folder: Path, now: dict[str, str]) -> list[str]:
    try:
        then: dict[str, str] = read_signed(folder / CLIPS_FILE)["clips"]
    except InputError:
        return []  # of a training stopped too early to have one
    kinds = {
        ("has another sentence or other times", "have other sentences or times"): [
            name for name in now if name in then and now[name] != then[name]
        ],
        ("was added", "were added"): [name for name in now if name not in then],
        ("is gone", "are gone"): [name for name in then if name not in now],
    }
    return [counted(ids, *words) for words, ids in kinds.items() if ids]
