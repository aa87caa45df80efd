"""Several feature caches into one file: their splits side by side, and halves of a split one after the other."""

import hashlib
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from slt_cache import __version__
from slt_cache.errors import InputError
from slt_cache.features.cache import FeatureCache, open_splits
from slt_cache.features.layout import SplitContent, canonical
from slt_cache.features.parts import joined, parts_folder
from slt_cache.features.writing import write_cache
from slt_cache.locks import exclusive
from slt_cache.progress import progress_bar

MAX_NAMED = 3
"""Clips in an error."""


def merge_caches(paths: Sequence[Path], out: Path) -> dict[str, int]:
    """Writes `out`, whole or not at all; returns the clips of each split. A split that is in several caches is joined
    in the order of the arguments; a clip that one lacks and another holds is missing no longer.

    Raises InputError where specs or languages differ, where a clip is in two caches, and where `out` is there."""
    if len(paths) < 2:
        raise InputError("cache merge: one cache alone. Name two or more.")
    held: dict[str, list[FeatureCache]] = {}
    for path in paths:
        for split, one in open_splits(path).items():
            held.setdefault(split, []).append(one)
    _require_same([cache for caches in held.values() for cache in caches])
    for caches in held.values():
        _require_disjoint(caches)
    try:
        with exclusive(parts_folder(out) / "lock", str(out)):
            if os.path.lexists(out):
                raise InputError(f"{out}: is there already, and merging replaces no file. Name a new one with --out.")
            with progress_bar(f"writing {out.name}", "row") as progress:
                write_cache(out, [_joined(held[split]) for split in sorted(held, key=canonical)], progress)
    finally:
        with suppress(OSError):  # not empty: an extraction has left its parts there
            parts_folder(out).rmdir()
    return {split: sum(map(len, held[split])) for split in sorted(held, key=canonical)}


def _require_same(caches: Sequence[FeatureCache]) -> None:
    for cache in caches[1:]:
        first = caches[0]
        different = first.spec.differences(cache.spec, here="first", there="second")
        if cache.metadata.language != first.metadata.language:
            different.append(f"language: first {first.metadata.language}, second {cache.metadata.language}")
        if different:
            raise InputError(
                f"{first.path} and {cache.path} hold different features ({'; '.join(different)}). "
                "Only what one encoder made with one set of settings can be merged."
            )


def _require_disjoint(caches: Sequence[FeatureCache]) -> None:
    where: dict[str, Path] = {}
    for cache in caches:
        twice = [clip_id for clip_id in cache.ids if clip_id in where]
        if twice:
            more = f" and {len(twice) - MAX_NAMED:,} more" if len(twice) > MAX_NAMED else ""
            raise InputError(
                f"{where[twice[0]]} and {cache.path} both hold {', '.join(map(repr, twice[:MAX_NAMED]))}{more} of "
                f"{cache.split}. Merge caches of different clips, or leave one out."
            )
        where.update(dict.fromkeys(cache.ids, cache.path))


def _joined(caches: Sequence[FeatureCache]) -> SplitContent:
    """A split of its caches, one after another; of one alone, as it is."""
    contents = [cache.content() for cache in caches]
    if len(contents) == 1:
        return contents[0]
    every = [content.table.metadata for content in contents]
    metadata = replace(
        every[0],
        corpus="+".join(dict.fromkeys(one.corpus for one in every)),
        manifest_sha256=hashlib.sha256("".join(one.manifest_sha256 for one in every).encode()).hexdigest(),
        created=max(one.created for one in every),
        tool=f"slt-cache {__version__}",
    )
    content = joined(metadata, contents)
    there = set(content.table.clip_ids)
    missing = {failure.clip_id: failure for failure in content.table.missing if failure.clip_id not in there}
    return replace(
        content,
        table=replace(content.table, missing=list(missing.values())),
        source=", ".join(one.source for one in contents),
    )
