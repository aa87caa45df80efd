"""Saving of LoRA in the folder of a translator, and of the frozen LLM that it adapts.

The LLM's weights are written once: whatever replaces a folder with the same ones takes their files as hard links
(copies, where the file system has none), so that a checkpoint writes only what learned, and every folder stays whole:
it can be copied, published and loaded without its run. lora/base.json names them by their hash, also in a folder that
was exported without them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import peft
import torch
from safetensors.torch import save_file
from transformers import GenerationConfig, PreTrainedModel

from slt_cache.errors import InputError
from slt_cache.files import link_or_copy, scratch_folder, write_json
from slt_cache.hashes import RECORD_FILE, is_as_recorded
from slt_cache.models.llm.load import load_seq2seq, load_whole, read_config, without_search_settings
from slt_cache.models.llm.lora import base_weights, fill_lora, lora_weights, put_lora
from slt_cache.models.llm.trimming import rows_of, trim_model
from slt_cache.models.weights import read_tensors, some_of, tensors_sha256
from slt_cache.reading import RESTORE, read_object
from slt_cache.text.pretrained import loading, require_plain
from slt_cache.text.tokenizer import load_inner

LORA_FOLDER = "lora"
LORA_WEIGHTS = "adapter_model.safetensors"
LORA_CONFIG = "adapter_config.json"
"""File name of LoRA settings; these two are peft's names."""
BASE_FILE = "base.json"
"""File of the LLM that LoRA adapts: its name, and the SHA-256 of its tensors."""
IDS_FILE = "trimmed_ids.json"
"""File of the tokens that a trimmed LLM keeps of another one; in the LoRA folder, if that one is exported without."""
BASE_WEIGHTS = "model*.safetensors*"
"""Pattern of the LLM's files of weights, which are transformers' names."""


def write_lora(folder: Path, seq2seq: PreTrainedModel, llm: str) -> None:
    config, weights = lora_weights(seq2seq)
    config.save_pretrained(str(folder))
    save_file(weights, folder / LORA_WEIGHTS, metadata={"format": "pt"})
    write_json(folder / BASE_FILE, {"llm": llm, "sha256": _base_sha256(seq2seq)})


def write_base(folder: Path, seq2seq: Any, weights: Mapping[str, torch.Tensor]) -> None:
    """Writes the config of a frozen LLM, and these weights. The quantizer of a quantized one is hidden meanwhile, since
    it would write the weights of the whole model, LoRA included."""
    quantizer = vars(seq2seq).pop("hf_quantizer", None)
    options = {} if quantizer is None else {"save_original_format": False}
    try:
        seq2seq.save_pretrained(folder, state_dict=dict(weights), **options)
    finally:
        if quantizer is not None:
            seq2seq.hf_quantizer = quantizer


_base_hashes: WeakKeyDictionary[PreTrainedModel, str] = WeakKeyDictionary()
"""Hashes of frozen LLMs, which do not change."""


def _base_sha256(seq2seq: PreTrainedModel) -> str:
    if seq2seq not in _base_hashes:
        _base_hashes[seq2seq] = tensors_sha256(base_weights(seq2seq))
    return _base_hashes[seq2seq]


def link_base(earlier: Path, folder: Path) -> bool:
    """Links the weights of the LLM from another folder; returns False if it has other ones, or damaged ones."""
    names = [Path(LORA_FOLDER, BASE_FILE), *(path.relative_to(earlier) for path in earlier.glob(BASE_WEIGHTS))]
    wanted, made = (folder / names[0]).read_bytes(), earlier / names[0]
    if not made.is_file() or made.read_bytes() != wanted or len(names) == 1:
        return False
    for name in names[1:]:
        link_or_copy(earlier / name, folder / name)
    if all(is_as_recorded(earlier, name, folder / name) for name in names[1:]):
        return True
    for name in names[1:]:
        (folder / name).unlink()
    return False


def has_base(folder: Path) -> bool:
    """Returns whether a folder of a saved translator holds the weights of its LLM, as it does unless exported without
    them."""
    return not (folder / LORA_FOLDER).is_dir() or any(folder.glob(BASE_WEIGHTS))


def lora_base(folder: Path) -> dict[str, str]:
    """Returns name and SHA-256, `llm` and `sha256`, of the LLM that a saved translator's LoRA adapts. Raises InputError
    if the file is damaged."""
    path = folder / LORA_FOLDER / BASE_FILE
    base = read_object(path)
    if not all(isinstance(base.get(key), str) for key in ("llm", "sha256")):
        raise InputError(f"{path}: damaged: it lacks llm or sha256. {RESTORE}")
    return base


def read_seq2seq(folder: Path, base: str | Path | None, dtype: torch.dtype) -> PreTrainedModel:
    """Loads the LLM of a saved translator from its folder, or from `base` if it is not there. Raises InputError."""
    if has_base(folder):
        if base is not None:
            raise InputError(f"{folder}: it holds its LLM already. Omit the base {base}.")
        return load_seq2seq(str(folder), dtype=dtype)
    made_of = lora_base(folder)
    name = made_of["llm"] if base is None else str(base)
    try:
        seq2seq = _load_base(name, folder, dtype)
    except InputError as error:
        raise InputError(
            f"{folder}: holds LoRA without its LLM ({made_of['llm']}, SHA-256 {made_of['sha256'][:12]}...), and {name} "
            f"cannot be loaded. Name a copy of that LLM with --base (in Python: base=). ({error})"
        ) from error
    seq2seq.generation_config = without_search_settings(GenerationConfig.from_pretrained(folder))
    return seq2seq


def _load_base(name: str, folder: Path, dtype: torch.dtype) -> PreTrainedModel:
    """Loads the LLM that LoRA adapts; if it was trimmed, from the whole one or from a copy that is trimmed already."""
    path = folder / LORA_FOLDER / IDS_FILE
    if not path.is_file():
        return load_seq2seq(name, dtype=dtype)
    kept = read_object(path)
    with loading(name):
        whole: Any = load_whole(name, config=read_config(name), dtype="auto")
    if rows_of(whole) == len(kept["old_ids"]):
        return load_seq2seq(name, dtype=dtype)
    tokenizer = load_inner(str(folder))
    like = {tokenizer.convert_tokens_to_ids(token): old for token, old in kept["added"].items()}
    trim_model(whole, kept["old_ids"], like)
    with scratch_folder() as trimmed:  # loaded like the one that was trained
        whole.save_pretrained(trimmed)
        return load_seq2seq(str(trimmed), dtype=dtype)


def read_lora(folder: Path, seq2seq: PreTrainedModel) -> None:
    require_plain(str(folder), read_object(folder / LORA_CONFIG))
    _require_base(folder, seq2seq)
    config, weights = peft.LoraConfig.from_pretrained(str(folder)), read_tensors(folder / LORA_WEIGHTS)
    _require_known(put_lora(seq2seq, config, weights), folder)


def _require_base(folder: Path, seq2seq: PreTrainedModel) -> None:
    """Raises InputError if the LLM is not the one that LoRA adapts. A folder's record, if any, covers that already."""
    recorded = (folder.parent / RECORD_FILE).is_file() and has_base(folder.parent)
    if recorded or not (folder / BASE_FILE).is_file():
        return
    base = lora_base(folder.parent)
    if base["sha256"] != _base_sha256(seq2seq):
        advice = RESTORE if has_base(folder.parent) else "Name a copy of that LLM with --base (in Python: base=)."
        raise InputError(
            f"{folder.parent}: its LLM is not the one that LoRA was trained on ({base['llm']}, SHA-256 "
            f"{base['sha256'][:12]}...). {advice}"
        )


def load_lora(folder: Path, seq2seq: PreTrainedModel) -> None:
    """Loads the LoRA weights of a saved translator into an LLM with LoRA of the same kind. Raises InputError."""
    _require_known(fill_lora(seq2seq, read_tensors(folder / LORA_WEIGHTS)), folder)


def _require_known(unknown: Sequence[str], folder: Path) -> None:
    if unknown:
        raise InputError(
            f"{folder / LORA_WEIGHTS}: damaged, or from another model: {some_of(unknown)} do not match. {RESTORE}"
        )
