"""Streams of a run by name: where the feature caches of several encoders for the same clips are. Opens none."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from slt_cache.checkpoints.record import Record
from slt_cache.config import expanded
from slt_cache.errors import InputError
from slt_cache.features.place import is_cache, located
from slt_cache.features.spec import FeatureSpec
from slt_cache.runs.run import Run

Caches = Path | Mapping[str, Path]
"""The feature cache of a model, or that of each of its streams, by name."""
_NAMED = re.compile(r"(\w[\w.-]*)=(.+)")
_RECORDED = "stream "
"""Prefix of a stream's name where a record has the path of its cache."""


def caches_named(run: Run, words: Sequence[str]) -> dict[str, Path]:
    """Returns the caches of `--features` in their order, by name: each word is a path, whose stem is the name, or
    NAME=PATH. Raises InputError if two have the same name."""
    found: dict[str, Path] = {}
    for word in words:
        match = None if Path(word).exists() else _NAMED.fullmatch(word)
        path = run.find_features(expanded(match[2] if match else word))
        name = match[1] if match else path.stem
        if name in found:
            raise InputError(
                f"--features: two streams are called {name} ({found[name]}, {path}). Name one: --features NAME={path}"
            )
        found[name] = path
    return found


def one_or_all(caches: Mapping[str, Path]) -> Caches:
    """Returns the path of a single cache, which needs no name."""
    [first, *others] = caches.values()
    return caches if others else first


def as_named(caches: Caches | None) -> Mapping[str, Path]:
    """Returns caches by name; the name of a single one is its stem."""
    if caches is None:
        return {}
    return {caches.stem: caches} if isinstance(caches, Path) else caches


def recorded_paths(caches: Caches) -> dict[str, str]:
    """Returns the paths of streams for a record, which knows their contents otherwise."""
    if isinstance(caches, Path):
        return {}
    return {f"{_RECORDED}{name}": str(path.absolute()) for name, path in caches.items()}


def caches_of_streams(
    run: Run, record: Record, specs: Mapping[str, FeatureSpec], given: Mapping[str, Path]
) -> dict[str, Path]:
    """Returns the caches of a model's streams: the `given` ones, and those it was trained from for the others. Raises
    InputError for an unknown stream, and for one whose cache is gone."""
    if unknown := [name for name in given if name not in specs]:
        raise InputError(
            f"--features {unknown[0]}={given[unknown[0]]}: no such stream of this model. Use NAME=PATH with "
            f"{', '.join(specs)}."
        )
    found = {}
    for name in specs:
        path = given.get(name) or located(record.named.get(f"{_RECORDED}{name}", f"{name}.h5"))
        if name not in given and not is_cache(path):
            path = run.folder / path.name  # a run folder may be moved
        if not is_cache(path):
            raise InputError(f"{path}: the feature cache of stream {name} is not here. Name it: --features {name}=PATH")
        found[name] = path
    return found
