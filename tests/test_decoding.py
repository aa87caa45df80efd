"""Beam search through the function that evaluation and translation call."""

from dataclasses import dataclass

import pytest
import torch

from slt_cache.batches.targets import make_targets
from slt_cache.config import GenerationConfig
from slt_cache.decoding.decode import Hypothesis, decode
from slt_cache.models.sign_translator import SignTranslator, make_light_t, token_loss
from slt_cache.text.tokenizer import Tokenizer

DIM = 8
LENGTHS = (7, 1, 4)
SENTENCES = ("guten abend", "morgen regnet es", "im norden scheint die sonne")


@dataclass(frozen=True)
class Encoded:
    ids: tuple[str, ...]
    features: torch.Tensor
    lengths: torch.Tensor


@pytest.fixture(scope="module")
def translator(tokenizer: Tokenizer) -> SignTranslator:
    """Has learned a sentence for each of the clips by heart."""
    torch.manual_seed(0)
    seq2seq = make_light_t("tiny", len(tokenizer), tokenizer.pad, tokenizer.eos, dropout=0.1)
    model = SignTranslator(DIM, seq2seq, tokenizer.start)
    targets = make_targets([tokenizer.encode(sentence) for sentence in SENTENCES], tokenizer)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    for _ in range(40):
        logits = model(torch.cat(clips()), torch.tensor(LENGTHS), targets.decoder_input_ids)
        loss = token_loss(logits, targets.labels, 0.0) / targets.tokens
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


def clips() -> list[torch.Tensor]:
    return [torch.randn(length, DIM, generator=torch.Generator().manual_seed(length)) for length in LENGTHS]


def run(translator: SignTranslator, tokenizer: Tokenizer, batches: list[Encoded], beams: int) -> list[Hypothesis]:
    return decode(translator, batches, tokenizer, GenerationConfig(num_beams=beams, max_new_tokens=24), nbest=beams)


@pytest.mark.parametrize("beams", [1, 3])
def test_a_clip_is_translated_the_same_alone_and_beside_longer_ones(
    translator: SignTranslator, tokenizer: Tokenizer, beams: int
) -> None:
    features = clips()
    alone = [Encoded((str(n),), clip, torch.tensor([len(clip)])) for n, clip in enumerate(features)]
    together = Encoded(("0", "1", "2"), torch.cat(features), torch.tensor(LENGTHS))
    one_by_one = run(translator, tokenizer, alone, beams)
    batched = run(translator, tokenizer, [together], beams)
    assert [found.clip_id for found in batched] == ["0", "1", "2"]
    assert [found.texts for found in batched] == [found.texts for found in one_by_one]
    for found, other in zip(batched, one_by_one, strict=True):
        assert found.scores == pytest.approx(other.scores, abs=1e-3)
        assert len(found.texts) == beams
    assert tuple(found.texts[0] for found in batched) == SENTENCES


def test_the_model_is_left_in_evaluation_mode(translator: SignTranslator, tokenizer: Tokenizer) -> None:
    translator.train()
    together = Encoded(("0", "1", "2"), torch.cat(clips()), torch.tensor(LENGTHS))
    first, second = (run(translator, tokenizer, [together], 1) for _ in range(2))
    assert not translator.training
    assert first == second


def test_a_clip_longer_than_the_positions_is_refused(tokenizer: Tokenizer) -> None:
    from slt_cache.config import LlmPretrainingConfig
    from slt_cache.errors import InputError
    from slt_cache.models.small_mbart import MAX_POSITIONS, make_small_mbart

    shape = LlmPretrainingConfig(hidden=32, heads=2, layers=1, feed_forward=64)
    seq2seq = make_small_mbart(shape, len(tokenizer), tokenizer.pad, tokenizer.eos, tokenizer.language_code())
    model = SignTranslator(DIM, seq2seq, tokenizer.start)
    steps = MAX_POSITIONS + 1
    long = Encoded(("long",), torch.zeros(steps, DIM), torch.tensor([steps]))
    with pytest.raises(InputError, match="513 steps"):
        run(model, tokenizer, [long], 1)
