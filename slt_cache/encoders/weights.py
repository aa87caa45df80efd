"""Weights of networks made elsewhere: downloaded by torchvision or read from a state dict, loaded strictly; and the
hash that identifies weights."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from slt_cache.encoders.backbone import Backbone
from slt_cache.encoders.base import UnreachableWeights
from slt_cache.errors import InputError

SHOWN = 3
"""Largest number of tensors that an error names."""
COUNTER = "num_batches_tracked"
"""Suffix of tensor names that older torchvision files lack."""
OF_DENSENET = re.compile(r"(norm|conv)\.([12])(?=\.)")
"""Part of the names of tensors in torchvision's files of DenseNets, which are older than their modules' names."""
ENCODER_FILE = "encoder.safetensors"
"""Name of the encoder's weights in the folder of a finished stage 1."""


def load_backbone(network: nn.Module, kind: Backbone, name: str, setting: str = "encoder.backbone") -> nn.Module:
    """Loads the weights that `encoder.weights` names into a network of this kind; returns the network, unchanged for
    `none`. `setting` names the network in errors. Raises InputError."""
    tensors = backbone_weights(kind, name)
    if tensors is not None:
        _load(network, kind, tensors, name, setting)
    return network


def backbone_weights(kind: Backbone, name: str) -> Mapping[str, torch.Tensor] | None:
    """Loads the tensors that `encoder.weights` names: `imagenet` from torchvision (downloaded once) or a file; None for
    `none`. Raises InputError."""
    if name == "none":
        return None
    return _imagenet_weights(kind) if name == "imagenet" else read_state_dict(name)


def read_state_dict(name: str) -> Mapping[str, torch.Tensor]:
    """Reads a state dict, .safetensors or a pickle that holds tensors alone. Raises InputError."""
    path = Path(name)
    if not path.is_file():
        is_stage_1 = (path / ENCODER_FILE).is_file()
        raise InputError(
            f"encoder.weights {name}: an encoder trained in stage 1. To start with it: encoder.init_from={name}"
            if is_stage_1
            else f"encoder.weights {name}: no such file. Use imagenet, none, or the path of a state dict."
        )
    try:
        weights: Any = (
            load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
    except Exception as error:  # each format and each kind of damage raises its own type
        raise InputError(f"encoder.weights {name}: not a readable file of tensors. Use another file.") from error
    if not isinstance(weights, Mapping) or not all(isinstance(one, torch.Tensor) for one in weights.values()):
        raise InputError(f"encoder.weights {name}: not a state dict of tensors. Use another file.")
    return weights


def _imagenet_weights(kind: Backbone) -> Mapping[str, torch.Tensor]:
    try:
        weights: Mapping[str, torch.Tensor] = kind.imagenet.get_state_dict(progress=False)
        return weights
    except OSError as error:
        raise UnreachableWeights(
            f"encoder.weights imagenet: could not be downloaded ({error}). Download {kind.imagenet.url} elsewhere and "
            "set encoder.weights to its path, or encoder.weights=none for random weights."
        ) from error


def _load(network: nn.Module, kind: Backbone, weights: Mapping[str, torch.Tensor], name: str, setting: str) -> None:
    """Loads a state dict of the network, without its classifier. Raises InputError for anything else."""
    if any(str(key).startswith("temporal.") for key in weights):
        raise InputError(
            f"encoder.weights {name}: an encoder trained in stage 1. Only its backbone would be used, and its "
            f"temporal module dropped silently. To start with all of it: encoder.init_from={Path(name).parent}"
        )
    body = {OF_DENSENET.sub(r"\1\2", str(key).removeprefix("backbone.")): value for key, value in weights.items()}
    load_strictly(
        network,
        {key: one for key, one in body.items() if not key.startswith(f"{kind.classifier}.")},
        name,
        f"{setting} {kind.name}",
        "backbone",
    )


def about_weights(name: str, imagenet: str) -> str:
    """Returns what a licence line says of the weights that `encoder.weights` names; `imagenet` is said of imagenet."""
    licences = {"imagenet": imagenet, "none": "random, not trained (encoder.weights=none)"}
    return f"weights {Path(name).name}: {licences.get(name, 'not stated')}"


def load_strictly(network: nn.Module, weights: Mapping[str, torch.Tensor], name: str, what: str, kind: str) -> None:
    """Loads a state dict that must have the network's tensors and no others. Raises InputError, naming `what` these
    weights are not those of."""
    own = network.state_dict()
    other = [key for key, value in weights.items() if key in own and _kind(value) != _kind(own[key])]
    alone = sorted(key for key in weights.keys() ^ own.keys() if not key.endswith(COUNTER))
    wrong = [*other, *alone]
    if wrong:
        raise InputError(
            f"encoder.weights {name}: not the weights of {what} ({some_of(wrong)}). "
            f"Use another file, or the {kind} that it belongs to."
        )
    network.load_state_dict(weights)


def _kind(tensor: torch.Tensor) -> tuple[torch.Size, bool]:
    """Returns the shape of a tensor, and whether it is floating-point of any precision."""
    return tensor.shape, tensor.is_floating_point()


def some_of(names: Sequence[str]) -> str:
    """Returns the first names of a list, and how many more there are."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(name[:80] for name in names[:SHOWN]) + more


def tensors_sha256(tensors: Mapping[str, torch.Tensor]) -> str:
    """Returns the SHA-256 over names, types, shapes and bytes, the same for equal weights from any file."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
