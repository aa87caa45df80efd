"""Made-up forward passes of a batch."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch

from slt_cache.batches.targets import make_targets
from slt_cache.encoders.packing import pad, step_mask
from slt_cache.models.translators import SignTranslator
from slt_cache.text.tokenizer import Tokenizer
from slt_cache.training.objectives.base import Seen, Sentences

WIDTH = 32
TEXTS = (
    "heute regnet es",
    "fällt schnee im norden",
    "heute weht ein mäßiger wind",
    "heute regnet es",
    "es ist trocken",
)


@pytest.fixture
def see(tokenizer: Tokenizer, small_mbart: Any) -> Callable[..., Seen]:
    """Returns a function that makes the forward pass of clips of TEXTS, whose hidden states are always the same."""

    def seen(clips: Sequence[int], more: int = 0, counts: bool = True) -> Seen:
        """`more` steps of padding are added, with states that must not matter."""
        translator = SignTranslator(4, small_mbart, tokenizer.start)
        each = [torch.randn(3 + clip, WIDTH, generator=torch.Generator().manual_seed(clip)) for clip in clips]
        mask = step_mask(torch.tensor([len(one) for one in each]))
        states = torch.cat([pad(torch.cat(each), mask), torch.full((len(clips), more, WIDTH), 9.0)], 1)
        targets = make_targets([tokenizer.encode(TEXTS[clip]) for clip in clips], tokenizer)
        wide = torch.cat([mask, torch.zeros(len(clips), more, dtype=torch.bool)], 1)
        frames = tuple(
            8 * torch.randn(20 + 3 * clip, 512, generator=torch.Generator().manual_seed(clip)) for clip in clips
        )
        counted = targets if counts else targets.uncounted()
        sentences = Sentences.of(targets, tokenizer)
        return Seen(translator, counted, sentences, states.requires_grad_(), wide, frames)

    return seen
