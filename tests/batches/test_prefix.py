"""Sentences, each after some of its words."""

from itertools import chain
from pathlib import Path

import pytest
import torch

from slt_cache.batches.denoising import words_of
from slt_cache.batches.prefix import SHIFT, PrefixBatch, PrefixBatches
from slt_cache.batches.sampler import Shard
from slt_cache.text.tokenizer import Tokenizer, load_tokenizer
from tests.helpers.small_causal_llms import make_causal_llm
from tests.helpers.small_llms import SENTENCES

SOME = SENTENCES[:9]


@pytest.fixture(scope="module", params=["gpt2", "gemma3_text"])
def tokenizer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder = tmp_path_factory.mktemp(request.param) / "llm"
    make_causal_llm(request.param, folder)
    return load_tokenizer(str(folder), "de_DE")


def only_batch(tokenizer: Tokenizer, omitted: float, epoch: int = 1, seed: int = 0) -> PrefixBatch:
    text = PrefixBatches(SOME, tokenizer, omitted=omitted, batch_size=len(SOME), seed=seed, shuffle=False)
    [batch] = text.epoch(epoch)
    assert isinstance(batch, PrefixBatch)
    return batch


def rows(batch: PrefixBatch) -> dict[str, list[int]]:
    pairs = zip(batch.ids, batch.words, batch.mask, strict=True)
    return {name: words[mask.bool()].tolist() for name, words, mask in pairs}


def test_all_words_stand_before_their_sentence_near_their_places(tokenizer: Tokenizer) -> None:
    moved = 0
    for name, found in rows(only_batch(tokenizer, omitted=0.0)).items():
        words = words_of(tokenizer.encode(SOME[int(name.split()[1]) - 1]), tokenizer)
        assert sorted(found) == sorted(chain.from_iterable(words))
        places = [place for place, word in enumerate(words_of(found, tokenizer)) if words.count(word) == 1]
        shifts = [abs(words.index(words_of(found, tokenizer)[place]) - place) for place in places]
        assert max(shifts) <= SHIFT
        moved += sum(map(bool, shifts))
    assert moved


def test_the_asked_share_of_the_words_is_omitted_anew_in_each_epoch(tokenizer: Tokenizer) -> None:
    whole = sum(map(len, rows(only_batch(tokenizer, omitted=0.0)).values()))
    epochs = [rows(only_batch(tokenizer, omitted=0.4, epoch=epoch)) for epoch in range(1, 31)]
    kept = [sum(map(len, found.values())) / whole for found in epochs]
    assert sum(kept) / len(kept) == pytest.approx(0.6, abs=0.05)
    assert epochs[0] != epochs[1] and epochs[0] == rows(only_batch(tokenizer, omitted=0.4, epoch=1))
    assert epochs[0] != rows(only_batch(tokenizer, omitted=0.4, epoch=1, seed=1))


def test_padding_stands_before_the_words_and_none_may_be_left(tokenizer: Tokenizer) -> None:
    batch = only_batch(tokenizer, omitted=0.4)
    assert (batch.mask.diff(dim=1) >= 0).all() and bool(batch.mask[:, -1].all())
    assert (batch.words[batch.mask == 0] == tokenizer.pad).all()
    none = only_batch(tokenizer, omitted=0.999)
    assert none.words.shape == none.mask.shape == (len(SOME), none.words.shape[1])


def test_processes_share_a_batch_with_the_noise_of_one(tokenizer: Tokenizer) -> None:
    def of(shard: Shard) -> dict[str, list[int]]:
        text = PrefixBatches(SOME, tokenizer, omitted=0.4, batch_size=4, seed=3, shard=shard)
        return dict(
            chain.from_iterable(rows(batch).items() for batch in text.epoch(2) if isinstance(batch, PrefixBatch))
        )

    assert of(Shard(0, 2)) | of(Shard(1, 2)) == of(Shard())


def test_a_batch_moves_with_its_words(tokenizer: Tokenizer, tmp_path: Path) -> None:
    batch = only_batch(tokenizer, omitted=0.4).to(torch.device("meta"))
    assert batch.words.is_meta and batch.mask.is_meta and batch.targets.labels.is_meta
