"""Files and folders that settings name, such as initial weights or an LLM. Records know them by what they hold: one
that has changed counts as another, and one that was moved or renamed does not."""

import hashlib
from pathlib import Path

from slt_cache.checkpoints.record import Record
from slt_cache.config import Config
from slt_cache.hashes import file_sha256
from slt_cache.text.families import small_family

BUILT_IN = ("none", "imagenet")
"""Weights that are no files, whatever lies in the working directory."""
WEIGHTS = ("*.safetensors", "*.bin")
"""The first kind that is there is the one that is loaded."""
OTHERS = ("*.json", "*.model", "*.txt")
"""Configs and tokenizers. Whatever else lies in a folder, such as weights for other libraries, does not count."""


def content_of(name: str, made: Record | None = None) -> str:
    """Returns `sha256:...` of the file, or of the LLM in the folder, that `name` names; else the name itself, such as
    `imagenet`, or that of a model on the hub.

    A file that is gone has not changed by that: if the record `made` has it under the same name, its content is that in
    the record."""
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
    """Returns content -> absolute path of the files and folders that the settings of a training name."""
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
