"""Checks before transformers loads a model or tokenizer, from a folder or by hub name, and one-line errors for whatever
goes wrong. Loads nothing itself.

A model folder is data here, never a program: its Python files are not run (`trust_remote_code=False` in every call of
transformers), pickled weights are read with `weights_only`, and a config that would make transformers download an
attention kernel or a quantizer is refused."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from slt_cache.errors import InputError, SltCacheError
from slt_cache.hashes import RECORD_FILE, require_whole
from slt_cache.reading import RESTORE, first_line, read_object
from slt_cache.text.families import LIGHT_T, small_names, titles
from slt_cache.text.sources import gguf_message, is_gguf, require_gguf

CONFIG_FILE = "config.json"
SMALL_FILES = (
    CONFIG_FILE,
    "generation_config.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "model.safetensors.index.json",
)
"""JSON files that transformers reads, or silently skips when damaged."""
LARGE_FILES = ("tokenizer.json", "vocab.json")
"""JSON files that are slow to parse; checked only after a failure."""
ADAPTER_FILE = "adapter_config.json"
TRANSLATOR_FILE = "sign_translator.json"
"""File that describes a translator saved by stage 2 (models/saved.py)."""
LLM = "llm.name "
"""Setting that names an LLM, as messages begin."""
IMPLEMENTATIONS = (None, "eager", "sdpa", "flex_attention")
"""Attention implementations that come with torch; transformers downloads others from the hub."""
FOREIGN_CODE = "trust_remote_code"
"""Marker of transformers' refusal to run a model's own code."""


def holds_decoder_only(folder: Path) -> bool:
    """Returns whether the LLM saved in a folder is decoder-only. Raises InputError if its config is missing or
    damaged."""
    return not read_object(folder / CONFIG_FILE).get("is_encoder_decoder", False)


@contextmanager
def loading(name: str, setting: str = LLM) -> Iterator[None]:
    """Runs a block in which transformers loads from a folder or by hub name. Turns every failure into an InputError of
    one line, which names the damaged file if there is one. `setting` precedes the name in messages."""
    try:
        if Path(name).is_dir():
            require_plain_folder(Path(name), setting)
        if is_gguf(name):
            require_gguf(name)
        yield
    except (SltCacheError, MemoryError):
        raise
    except Exception as error:  # each library and each kind of damage raises its own type
        if FOREIGN_CODE in str(error):
            raise InputError(_wants_code(name, setting)) from error
        found = _unreadable(Path(name), setting) if Path(name).is_dir() else None
        raise found or InputError(hub_message(name, error, setting)) from error


def require_plain_folder(folder: Path, setting: str = LLM) -> None:
    """Raises InputError for a folder with damaged files, or with a config that asks for more than data."""
    require_whole(folder)
    for file in SMALL_FILES:
        path = folder / file
        if path.is_file():
            require_plain(str(folder), _object(path, setting), setting)
    if (folder / ADAPTER_FILE).is_file() and not (folder / CONFIG_FILE).is_file():
        raise InputError(
            f"{setting}{folder}: only an adapter ({ADAPTER_FILE}), whose model would be downloaded by the name "
            "in it. Merge it into its model, and use the folder of the merged model."
        )


def require_plain(name: str, config: Mapping[str, Any], setting: str = LLM) -> None:
    """Raises InputError for a config that would make transformers download or run what the user did not name."""
    quantized = config.get("quantization_config")
    if (quantized and not _is_own(name, quantized)) or config.get("compression_config"):
        raise InputError(
            f"{setting}{name}: its weights are quantized ({CONFIG_FILE}: quantization_config), which training does not "
            "support. Use the unquantized model; llm.quantize quantizes it."
        )
    for key, value in _nested(config):
        if "attn_implementation" in key or "experts_implementation" in key:
            values = value.values() if isinstance(value, Mapping) else (value,)
            if any(one not in IMPLEMENTATIONS for one in values):
                raise InputError(
                    f"{setting}{name}: its {CONFIG_FILE} asks for the kernel {str(value)[:80]!r} ({key}), which would "
                    f"be downloaded and run. Remove {key} from {CONFIG_FILE}."
                )


def _is_own(name: str, quantized: Mapping[str, Any]) -> bool:
    """Returns whether a folder is a translator that stage 2 saved with a quantized LLM (llm.quantize)."""
    return (Path(name) / TRANSLATOR_FILE).is_file() and quantized.get("quant_method") == "bitsandbytes"


def _nested(config: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in config.items():
        yield str(key), value
        if isinstance(value, Mapping):
            yield from _nested(value)


def _wants_code(name: str, setting: str) -> str:
    known = f": {titles()}" if setting == LLM else ""
    return (
        f"{setting}{name}: it needs Python code of its own, which is never run here. Use a model with a class "
        f"in transformers{known}."
    )


def _unreadable(folder: Path, setting: str) -> InputError | None:
    """Returns an error naming the first unreadable file of a model folder; None if all can be read."""
    from safetensors import safe_open

    for path in sorted(folder.iterdir()):
        try:
            if path.name in LARGE_FILES:
                _object(path, setting)
            if path.suffix == ".safetensors":
                with safe_open(path, "pt"):
                    pass
        except InputError as error:
            return error
        except Exception as error:
            return InputError(
                f"{_setting(folder, setting)}{path}: damaged or truncated ({first_line(error)}). {RESTORE}"
            )
    return None


def _object(path: Path, setting: str) -> dict[str, Any]:
    try:
        return read_object(path)
    except InputError as error:
        raise InputError(f"{_setting(path.parent, setting)}{error}") from error


def _setting(folder: Path, setting: str) -> str:
    """Returns the setting that named a folder as a prefix of messages; empty if the folder belongs to a run."""
    return "" if (folder / RECORD_FILE).is_file() else f"{setting}{folder}: "


def hub_message(name: str, error: Exception, setting: str = LLM) -> str:
    """Returns what to do when a model or tokenizer cannot be loaded."""
    reason = first_line(error)
    if is_gguf(name):
        return gguf_message(name, reason)
    if (Path(name) / RECORD_FILE).is_file():
        return f"{name}: cannot be loaded ({reason}). {RESTORE}"
    is_llm, weights = setting == LLM, "model.safetensors (or pytorch_model.bin)"
    is_visual = setting.startswith("encoder.")
    others = "preprocessor_config.json" if is_visual else "the tokenizer (tokenizer.json or *.model)"
    then = "llm.name to that folder" if is_llm else f"{setting.replace(' ', '=')}FOLDER"
    files = f"config.json, {weights} and {others}"
    if Path(name).is_dir():
        return f"{setting}{name}: no model can be loaded from this folder ({reason}). It must hold {files}."
    made_here = f", nor one of those made here ({', '.join([*small_names(), LIGHT_T])})" if is_llm else ""
    return (
        f"{setting}{name}: neither a model folder nor available from the hub ({reason}){made_here}. With a network, "
        f"download {files}: hf download {name} --local-dir FOLDER. "
        f"Then set {then}, and HF_HUB_OFFLINE=1 to stay offline."
    )
