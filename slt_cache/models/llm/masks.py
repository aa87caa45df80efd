"""Attention masks of transformers on a GPU, made without reading what they hide."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS

SKIPS = ("allow_is_causal_skip", "allow_is_bidirectional_skip")
"""Arguments by which a mask that hides no padding may be left out."""


@contextmanager
def unread_masks(device: torch.device) -> Iterator[None]:
    """Makes masks in this block whether or not they hide padding: finding out would make this process wait for a GPU.
    Changes nothing on a CPU, where it is known at once, and a mask left out saves time."""
    if device.type == "cpu":
        yield
        return
    masks = ALL_MASK_ATTENTION_FUNCTIONS
    made = {name: make for name, make in masks.items() if name in ("sdpa", "eager")}
    masks.update({name: _unread(make) for name, make in made.items()})
    try:
        yield
    finally:
        masks.update(made)


def _unread(make: Callable[..., Any]) -> Callable[..., Any]:
    """Returns the function that makes a mask, with nothing left out of which the values would decide."""

    def unread(**options: Any) -> Any:
        known = options.get("attention_mask") is None
        return make(**options | {name: options[name] and known for name in SKIPS if name in options})

    return unread
