"""Checks on `llm.name`: it must not be a folder, local or on the hub, of which only a part would be used."""

from pathlib import Path

from slt_cache.errors import InputError
from slt_cache.models.saved import ABOUT_FILE, ADAPTER_FILE, LORA_FOLDER

PEFT_FILE = "adapter_config.json"
"""File of peft's LoRA weights, which need a model from elsewhere."""


def require_whole_llm(name: str, setting: str = "llm.name") -> None:
    """Raises InputError if the folder or hub name is a translator saved by stage 2, whose adapter and LoRA would be
    dropped, or only LoRA weights."""
    if _holds(name, ABOUT_FILE) or _holds(name, ADAPTER_FILE) or (Path(name) / LORA_FOLDER).is_dir():
        raise InputError(
            f"{setting} {name}: a translator trained in stage 2. Only its LLM would be used, and its adapter and LoRA "
            f"silently dropped. To start stage 2 with all of it, set llm.init_from={name}. Or name the LLM that it was "
            f"fine-tuned from ({ABOUT_FILE} there says which)."
        )
    if _holds(name, PEFT_FILE):
        raise InputError(
            f"{setting} {name}: only LoRA weights ({PEFT_FILE}), not a whole LLM. Merge them into their model with "
            "peft's merge_and_unload, save the result with save_pretrained, and use its folder."
        )


def _holds(name: str, file: str) -> bool:
    if Path(name).is_dir():
        return (Path(name) / file).is_file()
    from transformers.utils.hub import cached_file

    try:
        quiet = dict.fromkeys(("missing_entries", "connection_errors", "gated_repo"), False)
        found = cached_file(name, file, **{f"_raise_exceptions_for_{kind}": value for kind, value in quiet.items()})
    except (OSError, ValueError):
        return False  # no such model: loading it says so
    return found is not None
