"""Quantization of a frozen LLM with bitsandbytes: its linear layers but the output layer hold 8-bit integers (Dettmers
et al. 2022) or 4-bit NormalFloats (Dettmers et al. 2023), on a GPU. Knows no files."""

from importlib.util import find_spec
from typing import Any

import torch
from torch import nn
from transformers import BitsAndBytesConfig
from transformers.pytorch_utils import Conv1D

from slt_cache.errors import InputError
from slt_cache.progress import log

LAYERS = {"8bit": "Linear8bitLt", "4bit": "Linear4bit"}
"""Classes of bitsandbytes by the values of llm.quantize."""


def require_quantization(bits: str | None, device: torch.device | None = None) -> None:
    """Raises InputError if this machine cannot quantize, for lack of the package or of a GPU, or if the training would
    run on another `device`. None is no quantization."""
    if bits is None:
        return
    if find_spec("bitsandbytes") is None:
        raise InputError(
            f"llm.quantize {bits}: requires the package bitsandbytes. Install it: pip install 'bitsandbytes>=0.46'"
        )
    if not torch.cuda.is_available() or (device is not None and device.type != "cuda"):
        where = "this machine has none" if device is None or device.type == "cuda" else f"the device is {device}"
        raise InputError(
            f"llm.quantize {bits}: requires a GPU that torch supports (CUDA), and {where}. Use another machine or "
            "compute.device, or set llm.quantize=null and llm.dtype=bfloat16."
        )


def quantization(name: str, config: Any, bits: str | None, dtype: torch.dtype) -> dict[str, Any]:
    """Returns the arguments with which `from_pretrained` quantizes an LLM, or loads it as quantized as its `config`
    says; none for an ordinary one. Raises InputError if the LLM is quantized otherwise, or cannot be quantized here."""
    saved = getattr(config, "quantization_config", None)
    found = saved and next((one for one in LAYERS if saved.get(f"load_in_{one}")), None)
    if bits not in (None, found) and saved:
        raise InputError(f"llm.quantize {bits}: {name} is quantized to {found}. Set llm.quantize={found}.")
    require_quantization(found or bits)
    if not (found or bits):
        return {}
    settings: dict[str, Any] = {"device_map": {"": device_of_llm()}}
    if not saved:
        settings["quantization_config"] = BitsAndBytesConfig(
            **{f"load_in_{bits}": True}, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype
        )
    return settings


def device_of_llm() -> torch.device:
    """Returns the GPU on which a quantized LLM is loaded."""
    return torch.device("cuda", torch.cuda.current_device())


def require_quantized(model: Any) -> None:
    """Raises InputError if a linear layer other than the output layer was left as it was; logs those that the model's
    class keeps in float32, as T5's."""
    output = model.get_output_embeddings()
    left = {
        name.rpartition(".")[2]: name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | Conv1D)
        and module is not output
        and type(module).__name__ not in LAYERS.values()
    }
    kept = left.keys() & set(model._keep_in_fp32_modules or ())
    if left.keys() - kept:
        raise InputError(
            f"llm.quantize: bitsandbytes does not quantize {min(left[one] for one in left.keys() - kept)} of "
            f"{type(model).__name__}. Set it to null."
        )
    if kept:
        log(f"llm.quantize: {type(model).__name__} keeps its layers {', '.join(sorted(kept))} in float32")
