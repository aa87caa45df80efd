"""Paths in the settings of named encoders: which there are, without folders for those elsewhere, absolute for later."""

import shlex
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path, PurePath

from slt_cache.config import EncoderConfig, expanded

BUILT_IN = ("none", "imagenet")
"""Values of encoder.weights that are no files, whatever the working directory holds."""
PROGRAM, FOLDER, NETWORK = "command", "hf", "torchvision"
"""Kinds of encoders that read files of the user's: programs with their arguments, folders, and weights of networks,
whose names need no kind."""


def is_program(name: str) -> bool:
    """Returns whether a named encoder is a program of the user's."""
    return name.startswith(f"{PROGRAM}:")


def is_same_name(one: str, other: str) -> bool:
    """Returns whether two values of `encoder.name` differ in folders alone; a spec has none."""
    return _last_parts(one) == _last_parts(other)


def _last_parts(name: str) -> tuple[str, ...]:
    kind, which = _parts(name)
    return (kind, *(PurePath(word).name for word in _words(kind, which)))


def _parts(name: str) -> tuple[str, str]:
    kind, colon, which = name.partition(":")
    return (kind, which) if colon else (NETWORK, kind)


def _words(kind: str, which: str) -> list[str]:
    if kind != PROGRAM:
        return [expanded(which)]
    try:
        return shlex.split(which)
    except ValueError:  # no command line, which opening it reports
        return [which]


def _changed(name: str, change: Callable[[Path], object]) -> str:
    """Returns the name with each existing path in it changed: those of files in a command line, or of an hf: folder."""
    kind, which = _parts(name)
    if kind not in (PROGRAM, FOLDER):
        return name
    words = _words(kind, which)
    if kind == PROGRAM:
        words[:1] = [shutil.which(word) or word for word in words[:1]]
        there = [Path(word).is_file() for word in words]
    else:
        there = [Path(word).exists() for word in words]
    new = [str(change(Path(word))) if found else word for word, found in zip(words, there, strict=True)]
    return f"{kind}:{shlex.join(new) if kind == PROGRAM else new[0]}"


def lasting(encoder: EncoderConfig) -> EncoderConfig:
    """Returns settings that name the same files from any working directory."""
    encoder = encoder.as_named()
    name, python = _changed(encoder.name or "", Path.absolute), encoder.python
    weights = encoder.weights if encoder.weights in BUILT_IN else str(Path(encoder.weights).absolute())
    if python is not None and Path(python).exists():
        python = str(Path(python).absolute())  # a link to an interpreter stands for its environment
    return encoder.model_copy(update={"name": name, "weights": weights, "python": python})


def travelling(encoder: EncoderConfig) -> EncoderConfig:
    """Returns settings without the folders and the interpreter of this machine, and without those of a training."""
    encoder = encoder.as_named()
    weights = encoder.weights if encoder.weights in BUILT_IN else Path(encoder.weights).name
    name = _changed(encoder.name or "", lambda path: path.resolve().name if path.is_dir() else path.name)
    own = {"init_from": None, "init_without": (), "python": None}
    return encoder.model_copy(update={**own, "name": name, "weights": weights})


def in_folder(encoder: EncoderConfig, folder: Path) -> EncoderConfig:
    """Returns travelling settings with the paths of what the folder holds, never of a program."""
    kind, which = _parts(encoder.name or "")
    here = {"name": f"{kind}:{folder / which}"} if kind == FOLDER and (folder / which).exists() else {}
    here |= {"weights": str(folder / encoder.weights)} if (folder / encoder.weights).is_file() else {}
    return encoder.model_copy(update=here)


def data_of(encoder: EncoderConfig) -> Iterator[Path]:
    """Yields the folder and the file of weights that a named encoder reads; no programs."""
    kind, which = _parts(encoder.name or "")
    if kind == FOLDER and Path(expanded(which)).exists():
        yield Path(expanded(which))
    weights = encoder.as_named().weights
    if kind == NETWORK and weights not in BUILT_IN and Path(weights).is_file():
        yield Path(weights)
