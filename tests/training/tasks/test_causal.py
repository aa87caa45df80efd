"""The loss of a language model on sentences, alone and in batches, and after some of their words."""

import math
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from slt_cache.batches.prefix import PrefixBatch, PrefixBatches
from slt_cache.batches.sampler import Shard
from slt_cache.batches.text import TextBatches
from slt_cache.errors import InputError
from slt_cache.models.llm.load import load_seq2seq
from slt_cache.text.tokenizer import Tokenizer, load_tokenizer
from slt_cache.training.tasks.causal import loss_per_token
from tests.helpers.small_causal_llms import CAUSAL_FAMILIES, make_causal_llm
from tests.helpers.small_llms import SENTENCES

SOME = SENTENCES[:9]


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder = tmp_path_factory.mktemp("gpt2") / "llm"
    make_causal_llm("gpt2", folder)
    return load_tokenizer(str(folder), "de_DE")


@pytest.mark.parametrize("family", CAUSAL_FAMILIES)
@torch.no_grad()
def test_the_loss_is_that_of_each_sentence_alone(family: str, tmp_path: Path) -> None:
    make_causal_llm(family, tmp_path)
    tokenizer = load_tokenizer(str(tmp_path), "de_DE")
    model = load_seq2seq(str(tmp_path), tokenizer=tokenizer).eval()
    total, tokens = 0.0, 0
    for sentence in SOME:
        ids = [*tokenizer.start, *tokenizer.encode(sentence), tokenizer.eos]
        logits = model(input_ids=torch.tensor([ids])).logits[0, len(tokenizer.start) - 1 : -1]
        total += float(F.cross_entropy(logits, torch.tensor(ids[len(tokenizer.start) :]), reduction="sum"))
        tokens += len(ids) - len(tokenizer.start)
    for size in (1, 4):
        text = TextBatches(SOME, tokenizer, batch_size=size, shuffle=False)
        assert loss_per_token(model, text) == pytest.approx(total / tokens, abs=1e-4)
    assert total / tokens == pytest.approx(math.log(len(tokenizer)), rel=0.3)


@pytest.mark.parametrize("family", CAUSAL_FAMILIES)
@torch.no_grad()
def test_the_loss_after_some_words_is_that_of_each_sentence_alone(family: str, tmp_path: Path) -> None:
    make_causal_llm(family, tmp_path)
    tokenizer = load_tokenizer(str(tmp_path), "de_DE")
    model = load_seq2seq(str(tmp_path), tokenizer=tokenizer).eval()
    total, tokens = 0.0, 0
    for batch in PrefixBatches(SOME, tokenizer, omitted=0.4, batch_size=1, shuffle=False).epoch(0):
        assert isinstance(batch, PrefixBatch)
        [number] = (int(name.split()[1]) for name in batch.ids)
        sentence = [*tokenizer.encode(SOME[number - 1]), tokenizer.eos]
        ids = [*batch.words[0].tolist(), *tokenizer.start, *sentence]
        logits = model(input_ids=torch.tensor([ids])).logits[0, -len(sentence) - 1 : -1]
        total += float(F.cross_entropy(logits, torch.tensor(sentence), reduction="sum"))
        tokens += len(sentence)
    for size in (1, 4):
        text = PrefixBatches(SOME, tokenizer, omitted=0.4, batch_size=size, shuffle=False)
        assert loss_per_token(model, text) == pytest.approx(total / tokens, abs=1e-4)


def test_an_epoch_has_every_sentence_once_in_an_order_of_its_own(gpt2: Tokenizer) -> None:
    text = TextBatches(SOME, gpt2, batch_size=2, seed=3)
    epochs = [[batch.ids for batch in text.epoch(number)] for number in (1, 2)]
    assert all(sorted(sum(epoch, ())) == [f"sentence {n}" for n in range(1, 10)] for epoch in epochs)
    assert epochs[0] != epochs[1]
    assert [batch.ids for batch in text.epoch(1, first=2)] == epochs[0][2:]


def test_processes_share_every_batch_and_count_no_token_twice(gpt2: Tokenizer) -> None:
    whole = [batch.size for batch in TextBatches(SOME, gpt2, batch_size=4, seed=3).epoch(1)]
    shards = [TextBatches(SOME, gpt2, batch_size=4, seed=3, shard=Shard(rank, 3)).epoch(1) for rank in range(3)]
    assert [sum(batch.size for batch in shared) for shared in zip(*shards, strict=True)] == whole


def test_a_sentence_longer_than_the_llm_has_positions_is_named_before_training(gpt2: Tokenizer) -> None:
    text = TextBatches([SOME[0], "wind " * 30], gpt2, batch_size=2)
    text.require_positions(None)
    with pytest.raises(InputError, match=r"sentence 2 \('wind wind .*too long for the 20 positions"):
        text.require_positions(20)
    with pytest.raises(InputError, match="tokens with all of its words before it, too long for the 35 positions"):
        PrefixBatches(["wind " * 30], gpt2, omitted=0.4, batch_size=2).require_positions(35)
