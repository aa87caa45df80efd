"""Files and folders named by settings, such as initial weights or an LLM. Records identify them by content: a changed
one counts as another, a moved or renamed one does not."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from slt_cache.checkpoints.record import Record
from slt_cache.config import Config, EncoderConfig
from slt_cache.encoders.names import BUILT_IN
from slt_cache.hashes import file_sha256
from slt_cache.text.families import is_made_here

WEIGHTS = ("*.safetensors", "*.bin")
"""Patterns of weights; the first that matches is the one that is loaded."""
SHAPES = ("config.json", "adapter_config.json", "framing.json")
"""Files beside trained weights that say what these do not: shape, scale of LoRA, decoder prefix."""
OTHERS = ("*.json", "*.model", "*.txt")
"""Patterns of configs and tokenizers; other files, such as weights for other libraries, do not count."""


def content_of(name: str, made: Record | None = None) -> str:
    """Returns `sha256:...` of the named file or of the LLM in the named folder; else the name itself, such as
    `imagenet` or a hub name.

    A deleted file has not changed: if the record `made` has it under the same name, its content is taken from there."""
    path = Path(name)
    if name in BUILT_IN or is_made_here(name):
        return name
    if path.is_file():
        return f"sha256:{file_sha256(path)}"
    if path.is_dir():
        return f"sha256:{_folder_sha256(path)}"
    known = {} if made is None else {place: content for content, place in made.named.items()}
    return known.get(str(path.absolute()), name)


def named_files(config: Config) -> dict[str, str]:
    """Returns the contents of all files and folders that a training's settings name, with their absolute paths."""
    names = (config.encoder.weights, config.llm.name)
    trained = [name for name in (config.encoder.init_from, config.llm.init_from) if name is not None]
    found = {content_of(name): name for name in names} | {trained_content(name): name for name in trained}
    return {content: str(Path(name).absolute()) for content, name in found.items() if content != name}


def trained_content(name: str, made: Record | None = None) -> str:
    """Returns `sha256:...` of the models in the folder of a finished training, wherever it lies, or else what
    `content_of` returns. Its record and scores do not count, since they change when it is scored again."""
    folder = Path(name)
    if not folder.is_dir():
        return content_of(name, made)
    models = (path for path in sorted(folder.rglob("*")) if path.suffix == ".safetensors" or path.name in SHAPES)
    return f"sha256:{_sha256(folder, [path for path in models if path.is_file()])}"


def encoder_settings(encoder: EncoderConfig, made: Record | None) -> dict[str, Any]:
    """Returns the settings of the visual encoder as records hold them, with the files and folders that they name by
    their content; that of `made`, if they are gone."""
    settings = {**encoder.recorded(), "weights": content_of(encoder.weights, made)}
    if encoder.init_from is not None:
        settings["init_from"] = trained_content(encoder.init_from, made)
    return settings


def _folder_sha256(folder: Path) -> str:
    weights = next((found for kind in WEIGHTS if (found := sorted(folder.glob(kind)))), [])
    files = [*weights, *(path for kind in OTHERS for path in sorted(folder.glob(kind)))]
    return _sha256(folder, files)


def _sha256(folder: Path, files: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.relative_to(folder).as_posix()}\t{file_sha256(path)}\n".encode())
    return digest.hexdigest()
