"""Files with the features of one clip, .npy or .pt: how they are written and read.

Nothing is unpickled: a .npy with objects is refused, and a .pt is loaded with `weights_only`. torch is imported for .pt
only."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np

FORMATS = ("npy", "pt")


class BadFile(Exception):
    """Raised for a file whose features cannot be used; the message is the reason, without the file name."""


def write_features(path: Path, features: np.ndarray) -> None:
    """Writes [N, C] features as .npy or .pt, depending on the suffix."""
    if path.suffix == ".npy":
        np.save(path, features, allow_pickle=False)
        return
    import torch

    torch.save(torch.from_numpy(np.array(features)), path)  # a copy: the cache's own memory is read-only


def read_features(path: Path) -> np.ndarray:
    """Reads the array of a .npy or .pt file, [N, C] with N and C at least 1; a leading axis of length 1 is dropped.

    Raises BadFile for anything else. Does not check whether the numbers are finite."""
    if path.suffix not in (".npy", ".pt"):
        raise BadFile("neither .npy nor .pt")
    if not path.is_file():
        raise BadFile("no such file")
    try:
        features = _read_npy(path) if path.suffix == ".npy" else _read_pt(path)
    except BadFile:
        raise
    except Exception as error:  # each format and each kind of damage raises its own
        kind = "an array of numbers" if path.suffix == ".npy" else "a plain tensor"
        raise BadFile(f"not {kind}, or cut off ({type(error).__name__})") from error
    return checked(features)


def checked(features: np.ndarray) -> np.ndarray:
    """Returns features as [N, C] without a leading axis of length 1. Raises BadFile unless N and C are at least 1, and
    they are numbers."""
    shape = list(features.shape)
    if features.ndim == 3 and len(features) == 1:
        features = features[0]
    if features.dtype.kind not in "fiu":
        raise BadFile(f"{features.dtype} instead of numbers")
    if features.ndim != 2 or 0 in features.shape:
        raise BadFile(f"shape {shape} instead of [N, C]")
    return features


def flat(features: np.ndarray) -> np.ndarray:
    """Returns features of several axes, such as points of [T, K, 2], as [T, C]. Raises BadFile like `checked`."""
    if features.ndim < 3 or 0 in features.shape:
        return checked(features)
    return checked(features.reshape(len(features), -1))


def _read_npy(path: Path) -> np.ndarray:
    if path.stat().st_size == 0:
        raise BadFile("the file is empty")
    return np.lib.format.open_memmap(path, mode="r")  # refuses objects, and shapes that the file is too short for


def load_pt(path: Path) -> Any:
    """Returns what a .pt file holds, loaded with `weights_only`."""
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about unusual pickles; what cannot be read is an error anyway
        return torch.load(path, map_location="cpu", weights_only=True)


def _read_pt(path: Path) -> np.ndarray:
    import torch

    loaded = load_pt(path)
    if isinstance(loaded, dict):
        tensors = [value for value in loaded.values() if isinstance(value, torch.Tensor)]
        if len(tensors) != 1:
            raise BadFile(f"a dict with {len(tensors)} tensors; exactly one is read")
        [loaded] = tensors
    return numpy_of(loaded, path.stat().st_size)


def numpy_of(loaded: Any, size: int) -> np.ndarray:
    """Returns a tensor's numbers. `size` is that of its file in bytes. Raises BadFile for anything but a plain tensor
    that fits into the file."""
    import torch

    if not isinstance(loaded, torch.Tensor):
        raise BadFile(f"{type(loaded).__name__} instead of a tensor")
    if loaded.layout != torch.strided or loaded.is_quantized or loaded.is_nested:
        raise BadFile("a sparse, quantized or nested tensor")
    if loaded.numel() * loaded.element_size() > size:
        raise BadFile(f"shape {list(loaded.shape)}, for which the file is too short")  # strides repeat its values
    if loaded.dtype == torch.bfloat16:
        loaded = loaded.float()  # numpy has no such type; nothing is lost
    array: np.ndarray = loaded.detach().numpy()
    return array
