"""Sources of LLMs: a folder, the hub, or a single GGUF file, the format of llama.cpp. Loads no weights.

A GGUF file holds config, tokenizer and weights; transformers converts quantized weights to float32 on reading."""

from contextlib import suppress
from copy import deepcopy
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from slt_cache.errors import InputError

SUFFIX = ".gguf"
MAGIC = b"GGUF"
"""First bytes of every GGUF file."""


def is_gguf(name: str) -> bool:
    """Returns whether a value of llm.name is the path of a GGUF file."""
    return name.lower().endswith(SUFFIX)


def source_of(name: str) -> tuple[str, dict[str, str]]:
    """Returns the folder or hub name that `from_pretrained` takes for a value of llm.name, and its other arguments."""
    path = Path(name)
    return (str(path.parent), {"gguf_file": path.name}) if is_gguf(name) else (name, {})


def local_config(name: str) -> Any:
    """Returns an LLM's config from its folder or file or the local download cache; None if it is in neither, or
    damaged, which is reported when the LLM is loaded."""
    with suppress(Exception):
        return config_of(name, local_files_only=True)
    return None


def config_of(name: str, **options: Any) -> Any:
    """Reads an LLM's config, of which each call returns another object; `options` are those of `from_pretrained`."""
    from transformers import AutoConfig

    if is_gguf(name):
        return deepcopy(_gguf_config(name, Path(name).stat().st_mtime_ns))
    return AutoConfig.from_pretrained(name, trust_remote_code=False, **options)


@lru_cache(maxsize=1)
def _gguf_config(name: str, changed: int) -> Any:
    """Reads the config of a GGUF file, once per time of its change: with a large vocabulary it takes seconds."""
    from transformers import AutoConfig

    source, options = source_of(name)
    return AutoConfig.from_pretrained(source, trust_remote_code=False, **options)


def require_gguf(name: str) -> None:
    """Raises InputError if a GGUF file is missing, is not one, or needs a package that is not installed."""
    path = Path(name)
    if not path.is_file():
        raise InputError(f"llm.name {name}: no such file. Set it to the path of a GGUF file.")
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise InputError(f"llm.name {name}: not a GGUF file, despite its name. Use another file.")
    if find_spec("gguf") is None:
        raise InputError(
            f"llm.name {name}: reading a GGUF file requires the package gguf. Install it: pip install 'gguf>=0.17'"
        )


def gguf_message(name: str, reason: str) -> str:
    """Returns the message for a GGUF file that transformers cannot load."""
    return (
        f"llm.name {name}: no model can be loaded from this GGUF file ({reason}). It is damaged, truncated, or of a "
        "kind that transformers does not support. Download it again, or use another file."
    )
