"""Restoring of masked sentences."""

from collections.abc import Callable
from copy import deepcopy

import pytest
import torch

from slt_cache.errors import InputError
from slt_cache.text.tokenizer import Tokenizer
from slt_cache.training.objectives.base import Seen, Setup
from slt_cache.training.objectives.denoising import Denoising
from tests.training.objectives.conftest import TEXTS, WIDTH


def test_some_tokens_of_each_sentence_are_masked_the_same_ones_in_any_batch(
    see: Callable[..., Seen], tokenizer: Tokenizer
) -> None:
    term = Denoising(Setup(WIDTH, tokenizer, seed=3))
    seen, other = see([0, 1, 2]), see([1, 2])
    masked, again = term.masked(seen.sentences, 4), term.masked(other.sentences, 4)
    for row in (1, 2):
        length = int(seen.sentences.mask[row].sum())
        assert torch.equal(masked[row, :length], again[row - 1, :length])
        count = max(1, round(0.15 * len(tokenizer.encode(TEXTS[row]))))
        assert int((masked[row] == tokenizer.mask).sum()) == count
        assert masked[row, length - 1] == tokenizer.eos
    assert not torch.equal(masked, term.masked(seen.sentences, 5))
    assert not torch.equal(masked, Denoising(Setup(WIDTH, tokenizer, seed=4)).masked(seen.sentences, 4))


@pytest.mark.parametrize("bos", [None, "<unk>"])
def test_the_unknown_token_stands_for_a_mask_that_a_tokenizer_lacks(tokenizer: Tokenizer, bos: str | None) -> None:
    inner = deepcopy(tokenizer.inner)
    inner.mask_token = None
    inner.bos_token = bos
    setup = Setup(WIDTH, Tokenizer(inner, tokenizer.language, tokenizer.start))
    if bos is None:
        assert Denoising(setup).mask == inner.unk_token_id != tokenizer.mask
    else:  # as GPT-2's, whose unknown token is the end of a text
        with pytest.raises(InputError, match="neither a mask token nor one for unknown text"):
            Denoising(setup)


def test_its_gradient_reaches_encoder_and_decoder(see: Callable[..., Seen], tokenizer: Tokenizer) -> None:
    seen = see([0, 1])
    Denoising(Setup(WIDTH, tokenizer))(seen).backward()
    model = seen.translator.seq2seq
    assert all(part.layers[0].fc1.weight.grad.any() for part in (model.get_encoder(), model.get_decoder()))
    assert seen.states.grad is None
