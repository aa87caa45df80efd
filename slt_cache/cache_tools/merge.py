"""Merges several feature caches into one file: different splits are collected, parts of the same split concatenated."""

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
from slt_cache.features.parts import concatenated, parts_folder
from slt_cache.features.place import on_disk
from slt_cache.features.several_files import write_files
from slt_cache.locks import exclusive
from slt_cache.progress import progress_bar

MAX_NAMED = 3
"""Clips named in an error."""


def merge_caches(paths: Sequence[Path], out: Path, max_bytes: int | None = None) -> dict[str, int]:
    """Writes `out` atomically; returns the number of clips of each split. A split of several caches is concatenated in
    the order of the arguments; a clip that one cache lacks and another has is no longer missing. If one file would have
    more than `max_bytes`, `out` is a folder of files.

    Raises InputError if specs or languages differ, if a clip is in two caches, or if `out` already exists."""
    if len(paths) < 2:
        raise InputError("cache merge: only one cache. Name two or more.")
    out = on_disk(out)
    by_split: dict[str, list[FeatureCache]] = {}
    for path in paths:
        for split, one in open_splits(path).items():
            by_split.setdefault(split, []).append(one)
    _require_same([cache for caches in by_split.values() for cache in caches])
    for caches in by_split.values():
        _require_disjoint(caches)
    try:
        with exclusive(parts_folder(out) / "lock", str(out)):
            if os.path.lexists(out):
                raise InputError(f"{out}: already exists; merge does not overwrite. Name a new file with --out.")
            with progress_bar(f"writing {out.name}", "row") as progress:
                contents = [_joined(by_split[split]) for split in sorted(by_split, key=canonical)]
                write_files(out, contents, progress, max_bytes)
    finally:
        with suppress(OSError):  # not empty: an extraction left its parts there
            parts_folder(out).rmdir()
    return {split: sum(map(len, by_split[split])) for split in sorted(by_split, key=canonical)}


def _require_same(caches: Sequence[FeatureCache]) -> None:
    for cache in caches[1:]:
        first = caches[0]
        different = first.spec.differences(cache.spec, here="first", there="second")
        if cache.metadata.language != first.metadata.language:
            different.append(f"language: first {first.metadata.language}, second {cache.metadata.language}")
        if different:
            raise InputError(
                f"{first.path} and {cache.path} hold different features ({'; '.join(different)}). "
                "Only features of one encoder with the same settings can be merged."
            )


def _require_disjoint(caches: Sequence[FeatureCache]) -> None:
    path_of: dict[str, Path] = {}
    for cache in caches:
        twice = [clip_id for clip_id in cache.ids if clip_id in path_of]
        if twice:
            more = f" and {len(twice) - MAX_NAMED:,} more" if len(twice) > MAX_NAMED else ""
            raise InputError(
                f"{path_of[twice[0]]} and {cache.path} both hold {', '.join(map(repr, twice[:MAX_NAMED]))}{more} of "
                f"{cache.split}. Merge caches of different clips, or leave one out."
            )
        path_of.update(dict.fromkeys(cache.ids, cache.path))


def _joined(caches: Sequence[FeatureCache]) -> SplitContent:
    """Concatenates the caches of a split; a single one is returned unchanged."""
    contents = [cache.content() for cache in caches]
    if len(contents) == 1:
        return contents[0]
    metadatas = [content.table.metadata for content in contents]
    metadata = replace(
        metadatas[0],
        corpus="+".join(dict.fromkeys(one.corpus for one in metadatas)),
        manifest_sha256=hashlib.sha256("".join(one.manifest_sha256 for one in metadatas).encode()).hexdigest(),
        created=max(one.created for one in metadatas),
        tool=f"slt-cache {__version__}",
    )
    content = concatenated(metadata, contents)
    found = set(content.table.clip_ids)
    missing = {failure.clip_id: failure for failure in content.table.missing if failure.clip_id not in found}
    return replace(
        content,
        table=replace(content.table, missing=list(missing.values())),
        source=", ".join(one.source for one in contents),
    )
