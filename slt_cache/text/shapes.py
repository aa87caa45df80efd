"""Sizes of LLMs, as estimates and pre-training need them."""

from dataclasses import dataclass
from typing import Protocol


class Shape(Protocol):
    """Size of a model, common to `PublishedShape` and the settings of pre-training."""

    @property
    def layers(self) -> int: ...
    @property
    def heads(self) -> int: ...
    @property
    def hidden(self) -> int: ...
    @property
    def feed_forward(self) -> int: ...


@dataclass(frozen=True)
class PublishedShape:
    """Size of the most used published model of a family."""

    layers: int
    """Layers of the encoder and of the decoder."""
    heads: int
    hidden: int
    feed_forward: int
