"""Video-sentence contrast."""

import math
from collections.abc import Callable

import pytest
import torch
from torch.nn import functional as F

from slt_cache.text.tokenizer import Tokenizer
from slt_cache.training.objectives.across import LARGEST_SCALE, TEMPERATURE
from slt_cache.training.objectives.base import Seen, Setup
from slt_cache.training.objectives.contrastive import Contrastive
from tests.training.objectives.conftest import WIDTH


def term(tokenizer: Tokenizer) -> Contrastive:
    """Projections that change nothing."""
    made = Contrastive(Setup(WIDTH, tokenizer))
    with torch.no_grad():
        made.video.weight.copy_(torch.eye(WIDTH))
        made.text.weight.copy_(torch.eye(WIDTH))
    return made


def test_it_is_the_mean_of_both_directions_of_info_nce(see: Callable[..., Seen], tokenizer: Tokenizer) -> None:
    seen = see([0, 1, 2])
    seen.__dict__["text"] = torch.stack(
        [torch.eye(WIDTH)[row].expand(seen.sentences.ids.shape[1], -1) for row in range(3)]
    )
    lengths = seen.mask.sum(1, keepdim=True)
    means = torch.stack([states[:length].mean(0) for states, length in zip(seen.states, lengths, strict=True)])
    similar = F.normalize(means, dim=1)[:, :3] / TEMPERATURE
    wanted = -(similar.log_softmax(1).diag() + similar.log_softmax(0).diag()).sum() / 2
    assert torch.allclose(term(tokenizer)(seen), wanted, rtol=1e-5)


def test_a_matching_pair_has_a_small_value_and_an_exchanged_one_a_large_one(
    see: Callable[..., Seen], tokenizer: Tokenizer
) -> None:
    seen = see([0, 1])
    shape = (2, seen.sentences.ids.shape[1], WIDTH)
    own = torch.stack([one.mean(0) for one in seen.states.detach()])[:, None]
    video = Seen(seen.translator, seen.targets, seen.sentences, own, torch.ones(2, 1, dtype=torch.bool))
    video.__dict__["text"] = own.expand(shape)
    good = float(term(tokenizer)(video))
    video.__dict__["text"] = own.flip(0).expand(shape)
    assert good < 0.1 < 5 < float(term(tokenizer)(video))


def test_a_clip_with_the_same_sentence_is_no_negative(see: Callable[..., Seen], tokenizer: Tokenizer) -> None:
    both = see([0, 3])  # the same sentence
    assert float(term(tokenizer)(both)) == pytest.approx(0.0, abs=1e-6)


def test_the_scale_of_similarities_is_learned_up_to_a_bound(see: Callable[..., Seen], tokenizer: Tokenizer) -> None:
    made = term(tokenizer)
    assert float(made.scale(torch.tensor(1.0))) == pytest.approx(1 / TEMPERATURE)
    made(see([0, 1])).backward()
    assert made.scale.log.grad is not None and made.scale.log.grad != 0
    with torch.no_grad():
        made.scale.log.fill_(math.log(1e6))
    assert float(made.scale(torch.tensor(1.0))) == pytest.approx(LARGEST_SCALE)
