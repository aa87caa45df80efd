"""Files and folders named by settings, such as initial weights or an LLM. Records identify them by content: a changed
one counts as another, a moved or renamed one does not."""

import hashlib
from pathlib import Path

from slt_cache.checkpoints.record import Record
from slt_cache.config import Config
from slt_cache.hashes import file_sha256
from slt_cache.text.families import small_family

BUILT_IN = ("none", "imagenet")
"""Names of weights that are not files, whatever the working directory holds."""
WEIGHTS = ("*.safetensors", "*.bin")
"""Patterns of weights; the first that matches is the one that is loaded."""
OTHERS = ("*.json", "*.model", "*.txt")
"""Patterns of configs and tokenizers; other files, such as weights for other libraries, do not count."""


def content_of(name: str, made: Record | None = None) -> str:
    """Returns `sha256:...` of the named file or of the LLM in the named folder; else the name itself, such as
    `imagenet` or a hub name.

    A deleted file has not changed: if the record `made` has it under the same name, its content is taken from there."""
    path = Path(name)
    if name in BUILT_IN or small_family(name) is not None:
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
    found = {content_of(name): name for name in names}
    return {content: str(Path(name).absolute()) for content, name in found.items() if content != name}


def _folder_sha256(folder: Path) -> str:
    weights = next((found for kind in WEIGHTS if (found := sorted(folder.glob(kind)))), [])
    files = [*weights, *(path for kind in OTHERS for path in sorted(folder.glob(kind)))]
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.name}\t{file_sha256(path)}\n".encode())
    return digest.hexdigest()
