"""Tensors in a .safetensors file, and a model that takes just these: none lacking, none too many, none of another shape
or type; and the hash by which weights are known."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

from slt_cache.errors import InputError
from slt_cache.reading import RESTORE, first_line

SHOWN = 3
"""Tensors in an error."""


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Raises InputError where the file is missing, damaged or cut off."""
    if not path.is_file():
        raise InputError(f"{path}: there is no such file. {RESTORE}")
    try:
        return load_file(path)
    except Exception as error:  # safetensors has its own, and the system others
        raise InputError(f"{path}: damaged or cut off ({first_line(error)}). {RESTORE}") from error


def load_weights(model: nn.Module, path: Path) -> None:
    """Puts the tensors of a file into a model. One that has several names, the word embedding, stands in the file under
    one of them. Raises InputError for a file that is damaged, or that holds another model."""
    tensors, own = read_tensors(path), model.state_dict(keep_vars=True)
    found = {id(own[name]) for name in tensors if name in own}
    wrong = {
        "lacks": [name for name, tensor in own.items() if id(tensor) not in found],
        "has the unknown": sorted(tensors.keys() - own.keys()),
        "has another shape or type for": [
            name
            for name, tensor in tensors.items()
            if name in own and (tensor.shape, tensor.dtype) != (own[name].shape, own[name].dtype)
        ],
    }
    problems = "; ".join(f"{what} {some_of(names)}" for what, names in wrong.items() if names)
    if problems:
        raise InputError(f"{path}: damaged, or the weights of another model: it {problems}. {RESTORE}")
    model.load_state_dict(tensors, strict=False)  # strict would ask for every name of a shared tensor


def some_of(names: Sequence[str]) -> str:
    """The first names of a list, and how many more there are."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(name[:80] for name in names[:SHOWN]) + more


def tensors_sha256(tensors: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 over names, types, shapes and bytes: the same weights hash the same from whatever file they came."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
