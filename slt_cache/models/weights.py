"""Strict loading of .safetensors files into models (no tensor missing, unknown, or of another shape or type), and
frozen weights."""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

from slt_cache.encoders.weights import some_of as some_of
from slt_cache.encoders.weights import tensors_sha256 as tensors_sha256
from slt_cache.errors import InputError
from slt_cache.reading import RESTORE, first_line


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Reads the tensors of a file. Raises InputError if it is missing, damaged or truncated."""
    if not path.is_file():
        raise InputError(f"{path}: no such file. {RESTORE}")
    try:
        return load_file(path)
    except Exception as error:  # safetensors and the system raise various types
        raise InputError(f"{path}: damaged or truncated ({first_line(error)}). {RESTORE}") from error


def load_weights(model: nn.Module, path: Path) -> None:
    """Loads the tensors of a file into a model. A tied tensor, such as the word embedding, is in the file under one of
    its names. Those that the model names as `added` later stay as they are if the file lacks them. Raises InputError
    for a damaged file, or one of another model."""
    tensors, own, added = read_tensors(path), model.state_dict(keep_vars=True), getattr(model, "added", ())
    found = {id(own[name]) for name in tensors if name in own}
    wrong = {
        "lacks": [name for name, tensor in own.items() if id(tensor) not in found and name not in added],
        "has the unknown": sorted(tensors.keys() - own.keys()),
        "has a different shape or type for": [
            name
            for name, tensor in tensors.items()
            if name in own and (tensor.shape, tensor.dtype) != (own[name].shape, own[name].dtype)
        ],
    }
    problems = "; ".join(f"{what} {some_of(names)}" for what, names in wrong.items() if names)
    if problems:
        raise InputError(f"{path}: damaged, or from another model: it {problems}. {RESTORE}")
    model.load_state_dict(tensors, strict=False)  # strict would require every name of a tied tensor


def frozen_state(model: nn.Module) -> dict[str, torch.Tensor]:
    """Returns the part of a model's state dict that training does not change: parameters without gradients, with what
    else a module of quantized weights keeps."""
    frozen = {name for name, weight in model.named_parameters(remove_duplicate=False) if not weight.requires_grad}
    quantized = tuple(
        f"{name.rpartition('.')[0]}."
        for name, weight in model.named_parameters(remove_duplicate=False)
        if not weight.is_floating_point()
    )
    return {
        name: tensor
        for name, tensor in model.state_dict().items()
        if isinstance(tensor, torch.Tensor) and (name in frozen or name.startswith(quantized))
    }


def parameters_of(model: nn.Module) -> dict[str, int]:
    """Counts the parameters of a model: those that are `trained`, and `all`. Quantized ones count as before."""
    sizes = [(_size(weight), weight.requires_grad) for weight in model.parameters()]
    return {"trained": sum(size for size, trained in sizes if trained), "all": sum(size for size, _ in sizes)}


def _size(weight: torch.Tensor) -> int:
    packed = getattr(weight, "quant_state", None)  # of bitsandbytes, which stores two 4-bit numbers per byte
    return (weight if packed is None else packed).shape.numel()
