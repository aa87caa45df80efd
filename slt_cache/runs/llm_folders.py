"""What `llm.name` may not point to: folders, here or on the hub, of which only a part would be taken."""

from pathlib import Path

from slt_cache.errors import InputError
from slt_cache.models.saved import ABOUT_FILE, ADAPTER_FILE, LORA_FOLDER

PEFT_FILE = "adapter_config.json"
"""Of peft: matrices for a model that lies elsewhere."""


def require_whole_llm(name: str, setting: str = "llm.name") -> None:
    """Raises InputError if the folder or hub name is a translator that stage 2 has saved, whose adapter and LoRA would
    be dropped, or holds LoRA matrices, which are no LLM."""
    if _holds(name, ABOUT_FILE) or _holds(name, ADAPTER_FILE) or (Path(name) / LORA_FOLDER).is_dir():
        raise InputError(
            f"{setting} {name}: a translator that stage 2 has trained. Only its LLM would be taken; its adapter (and "
            "LoRA) would be dropped without a word. Training cannot start from it yet: name the LLM that it was made "
            f"of ({ABOUT_FILE} there tells which)."
        )
    if _holds(name, PEFT_FILE):
        raise InputError(
            f"{setting} {name}: LoRA matrices ({PEFT_FILE}), not a whole LLM. Merge them into their model with peft's "
            "merge_and_unload, save that with save_pretrained, and name its folder."
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
