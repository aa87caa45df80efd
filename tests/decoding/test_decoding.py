"""Beam and greedy search through the functions that evaluation and translation call."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from slt_cache.batches.features import require_positions
from slt_cache.batches.targets import make_targets
from slt_cache.config import GenerationConfig
from slt_cache.decoding.search import Hypothesis, decode, decode_cached, truncation_notice
from slt_cache.errors import InputError
from slt_cache.features.cache import FeatureCache
from slt_cache.features.parts import ClipFeatures, add_splits, content_of
from slt_cache.models.llm.load import load_seq2seq
from slt_cache.models.llm.small import make_small
from slt_cache.models.translators import SignTranslator, make_light_t, token_loss
from slt_cache.text.families import small_positions
from slt_cache.text.tokenizer import Tokenizer, load_tokenizer
from tests.conftest import TINY_MBART
from tests.helpers.caches import facts_of, spec_of
from tests.helpers.small_llms import make_small_llm

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


# --- against plain generate, one clip at a time

SEARCHED = ("small mbart", "light-t", "t5", "bart")
LONGER = (7, 1, 4, 11, 3, 4, 9, 2)


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory, tokenizer: Tokenizer) -> dict[str, tuple[Any, Tokenizer]]:
    """Models with random weights that say different things of different clips."""
    torch.manual_seed(1)
    ids = (len(tokenizer), tokenizer.pad, tokenizer.eos)
    mbart = make_small("small-mbart", TINY_MBART, *ids, tokenizer.language_code())
    models: dict[str, tuple[Any, Tokenizer]] = {
        "small mbart": (mbart, tokenizer),
        "light-t": (make_light_t("tiny", *ids, dropout=0.1), tokenizer),
    }
    for name in ("small mbart", "light-t"):
        for weight in models[name][0].parameters():
            if weight.dim() == 2:
                torch.nn.init.normal_(weight, std=0.3)
    mbart.get_buffer("final_logits_bias")[0, tokenizer.eos] = 2.0
    for family in ("t5", "bart"):
        folder = tmp_path_factory.mktemp("llms") / family
        make_small_llm(family, folder)
        models[family] = (load_seq2seq(str(folder)), load_tokenizer(str(folder), None))
    return models


def new_translator(seq2seq: Any, tokenizer: Tokenizer) -> SignTranslator:
    torch.manual_seed(2)
    model = SignTranslator(DIM, seq2seq, tokenizer.start)
    for weight in model.adapter.parameters():
        torch.nn.init.normal_(weight)
    return model.eval()


def batch_of(lengths: Sequence[int]) -> Encoded:
    random = torch.Generator().manual_seed(3)
    features = torch.randn(sum(lengths), DIM, generator=random)
    return Encoded(tuple(map(str, range(len(lengths)))), features, torch.tensor(lengths))


@torch.no_grad()
def plain(model: SignTranslator, tokenizer: Tokenizer, clip: torch.Tensor, beams: int, steps: int) -> Any:
    """transformers' own generate: texts and scores of one clip, without padding."""
    embeds = model.adapter(clip).unsqueeze(0) * model.scale
    start = torch.tensor([model.start])
    result = model.seq2seq.generate(
        inputs_embeds=embeds,
        attention_mask=torch.ones(embeds.shape[:2], dtype=torch.long),
        decoder_input_ids=start,
        decoder_start_token_id=model.start[0],
        num_beams=beams,
        num_return_sequences=beams,
        max_new_tokens=steps,
        do_sample=False,
        return_dict_in_generate=True,
        output_scores=True,
    )
    texts = tuple(tokenizer.decode(ids[start.shape[1] :].tolist()) for ids in result.sequences)
    if beams > 1:
        return texts, tuple(result.sequences_scores.tolist())
    taken = model.seq2seq.compute_transition_scores(result.sequences, result.scores, normalize_logits=True)
    return texts, (float(taken.mean()),)


@pytest.mark.parametrize("steps", [3, 12])
@pytest.mark.parametrize("beams", [1, 5])
@pytest.mark.parametrize("name", SEARCHED)
def test_hypotheses_are_those_of_plain_generate(
    searched: dict[str, tuple[Any, Tokenizer]], name: str, beams: int, steps: int
) -> None:
    seq2seq, tokenizer = searched[name]
    model, batch = new_translator(seq2seq, tokenizer), batch_of(LONGER)
    generation = GenerationConfig(num_beams=beams, max_new_tokens=steps)
    found = decode(model, [batch], tokenizer, generation, nbest=beams)
    expected = [plain(model, tokenizer, clip, beams, steps) for clip in batch.features.split(list(LONGER))]
    for hypothesis, (texts, scores) in zip(found, expected, strict=True):
        assert hypothesis.texts == texts
        assert hypothesis.scores == pytest.approx(scores, abs=1e-4)
    assert len({hypothesis.texts for hypothesis in found}) > 2
    if beams > 1:
        assert all(list(hypothesis.scores) == sorted(hypothesis.scores, reverse=True) for hypothesis in found)


@pytest.mark.parametrize("length_penalty", [0.0, 2.0])
def test_a_greedy_score_is_that_of_the_same_sentence_among_beams(
    translator: SignTranslator, tokenizer: Tokenizer, length_penalty: float
) -> None:
    together = [Encoded(("0", "1", "2"), torch.cat(clips()), torch.tensor(LENGTHS))]
    found = []
    for beams in (1, 4):
        settings = GenerationConfig(num_beams=beams, max_new_tokens=24, length_penalty=length_penalty)
        found.append(decode(translator, together, tokenizer, settings, nbest=beams))
    for greedy, best in zip(*found, strict=True):
        of = dict(zip(best.texts, best.scores, strict=True))
        assert greedy.scores == pytest.approx([of[greedy.texts[0]]], abs=1e-4)


@pytest.mark.parametrize("name", SEARCHED)
def test_the_encoder_reads_each_clip_once(searched: dict[str, tuple[Any, Tokenizer]], name: str) -> None:
    seq2seq, tokenizer = searched[name]
    rows: list[int] = []

    def count(module: Any, args: Any, options: dict[str, Any], output: Any) -> None:
        rows.append(len(options["inputs_embeds"]))

    hook = seq2seq.get_encoder().register_forward_hook(count, with_kwargs=True)
    settings = GenerationConfig(num_beams=5, max_new_tokens=8)
    decode(new_translator(seq2seq, tokenizer), [batch_of(LONGER)], tokenizer, settings, nbest=5)
    hook.remove()
    assert rows == [len(LONGER)]


def test_a_batch_takes_less_than_half_the_time_of_its_clips_one_by_one(
    searched: dict[str, tuple[Any, Tokenizer]],
) -> None:
    seq2seq, tokenizer = searched["small mbart"]
    lengths = [10 + number % 8 for number in range(32)]
    model, batch = new_translator(seq2seq, tokenizer), batch_of(lengths)
    settings = GenerationConfig(num_beams=5, max_new_tokens=10)

    def seconds(work: Callable[[], Any]) -> float:
        begun = time.process_time()
        work()
        return time.process_time() - begun

    def one_by_one() -> None:
        for clip in batch.features.split(lengths):
            plain(model, tokenizer, clip, 5, 10)

    together = min(seconds(lambda: decode(model, [batch], tokenizer, settings)) for _ in range(3))
    alone = seconds(one_by_one)
    print(f"32 clips: {together:.3f} s together, {alone:.3f} s one by one, ratio {together / alone:.3f}")
    assert together < 0.5 * alone


def test_beam_search_does_not_keep_the_probabilities_of_every_step(
    searched: dict[str, tuple[Any, Tokenizer]], monkeypatch: pytest.MonkeyPatch
) -> None:
    seq2seq, tokenizer = searched["small mbart"]
    model, kept = new_translator(seq2seq, tokenizer), []
    generate = model.generate

    def watched(*args: Any, **options: Any) -> Any:
        kept.append(generate(*args, **options))
        return kept[-1]

    monkeypatch.setattr(model, "generate", watched)
    decode(model, [batch_of(LONGER)], tokenizer, GenerationConfig(num_beams=5, max_new_tokens=8))
    [result] = kept
    assert len(result.scores) > 1
    assert all(step.untyped_storage().nbytes() == 0 for step in result.scores)


# --- a split of the cache


def cache_of(path: Path, lengths: Sequence[int]) -> FeatureCache:
    random = np.random.default_rng(0)
    rows = [
        ClipFeatures(f"clip {n}", "ein satz", 4 * length, 25.0, random.normal(size=(length, DIM)).astype(np.float32))
        for n, length in enumerate(lengths)
    ]
    add_splits(path, [content_of(facts_of("dev", spec_of("float32", dim=DIM)), rows)])
    return FeatureCache(path, "dev")


def test_a_cached_split_is_decoded_longest_first_and_comes_back_in_its_order(
    searched: dict[str, tuple[Any, Tokenizer]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seq2seq, tokenizer = searched["small mbart"]
    model, seen = new_translator(seq2seq, tokenizer), []
    cache, generate = cache_of(tmp_path / "feats.h5", LONGER), model.generate

    def watched(features: torch.Tensor, lengths: torch.Tensor, *more: Any, **options: Any) -> Any:
        seen.append(lengths.tolist())
        return generate(features, lengths, *more, **options)

    monkeypatch.setattr(model, "generate", watched)
    generation = GenerationConfig(num_beams=3, max_new_tokens=8, batch_size=3)
    found = decode_cached(model, cache, tokenizer, generation)
    assert seen == [[11, 9, 7], [4, 4, 3], [2, 1]]
    assert [hypothesis.clip_id for hypothesis in found] == cache.ids
    for hypothesis in found:
        clip = torch.from_numpy(cache[hypothesis.clip_id].copy())
        [alone] = decode(model, [Encoded(("x",), clip, torch.tensor([len(clip)]))], tokenizer, generation)
        assert hypothesis.texts == alone.texts
        assert hypothesis.scores == pytest.approx(alone.scores, abs=1e-4)


# --- more than the LLM has positions for


@pytest.mark.parametrize("beams", [1, 2])
def test_a_clip_longer_than_the_positions_is_cut_and_says_so(
    searched: dict[str, tuple[Any, Tokenizer]], tokenizer: Tokenizer, beams: int
) -> None:
    model = new_translator(searched["small mbart"][0], tokenizer)
    positions = small_positions("small-mbart")
    assert positions is not None
    steps = positions + 5
    long, short = torch.randn(steps, DIM), torch.randn(4, DIM)
    batch = Encoded(("long", "short"), torch.cat([long, short]), torch.tensor([steps, 4]))
    found = run(model, tokenizer, [batch], beams)
    assert [hypothesis.steps_left_out for hypothesis in found] == [5, 0]
    cut = Encoded(("cut", "short"), torch.cat([long[:-5], short]), torch.tensor([positions, 4]))
    for hypothesis, other in zip(found, run(model, tokenizer, [cut], beams), strict=True):
        assert (hypothesis.texts, hypothesis.scores) == (other.texts, other.scores)
        assert other.steps_left_out == 0
    notice = truncation_notice(found, model.positions)
    assert notice == "1 clip is longer than the LLM's 512 steps; its end was not read: long"
    assert truncation_notice(found[1:], model.positions) is None


def test_a_notice_counts_the_clips_that_it_does_not_name() -> None:
    found = [Hypothesis(str(number), ("",), (0.0,), steps_left_out=number) for number in range(14)]
    notice = truncation_notice(found, 1024)
    assert notice is not None
    assert notice.startswith("13 clips are longer than the LLM's 1024 steps; their ends were not read: 1, 2, 3, ")
    assert notice.endswith(", 10 and 3 more")


def test_a_model_without_an_end_of_its_positions_reads_everything(
    searched: dict[str, tuple[Any, Tokenizer]],
) -> None:
    for name in ("light-t", "t5"):
        seq2seq, tokenizer = searched[name]
        model = new_translator(seq2seq, tokenizer)
        batch = Encoded(("long",), torch.randn(1100, DIM), torch.tensor([1100]))
        [found] = decode(model, [batch], tokenizer, GenerationConfig(num_beams=1, max_new_tokens=2))
        assert found.steps_left_out == 0


@pytest.mark.parametrize("beams", [1, 2])
def test_more_new_tokens_than_positions_are_not_written(tmp_path: Path, beams: int) -> None:
    make_small_llm("bart", tmp_path / "bart", max_position_embeddings=12)
    tokenizer = load_tokenizer(str(tmp_path / "bart"), None)
    seq2seq = load_seq2seq(str(tmp_path / "bart"))
    seq2seq.get_buffer("final_logits_bias")[0, tokenizer.eos] = -1e4  # ends only where it is made to
    model, batch = new_translator(seq2seq, tokenizer), batch_of((20, 3))
    options: dict[str, Any] = {"num_beams": beams, "do_sample": False}
    result = model.generate(batch.features, batch.lengths, max_new_tokens=128, **options)
    assert result.sequences.shape == (2, 12 + 1)  # the last one is written and not read again
    labels = result.sequences[:, 1:]
    assert model(batch.features[20:], torch.tensor([3]), result.sequences[1:, :-1]).shape[1] == labels.shape[1]


@pytest.mark.parametrize("name", ["small mbart", "bart"])
def test_training_refuses_what_is_longer_than_the_positions(
    searched: dict[str, tuple[Any, Tokenizer]], name: str, tmp_path: Path
) -> None:
    seq2seq, tokenizer = searched[name]
    model = new_translator(seq2seq, tokenizer)
    assert model.positions is not None
    over, start = model.positions + 1, torch.tensor([[*model.start, 5]])
    with pytest.raises(InputError, match=f"{over} steps"):
        model(torch.zeros(over, DIM), torch.tensor([over]), start)
    with pytest.raises(InputError, match=f"{over} target tokens"):
        model(torch.zeros(3, DIM), torch.tensor([3]), torch.full((1, over), 5))
    cache = cache_of(tmp_path / "feats.h5", (3, over, 4))
    with pytest.raises(InputError, match=f"1 of 3 clips .* LLM's {model.positions} steps, such as 'clip 1'"):
        require_positions(cache, model.positions, tokenizer)
    require_positions(cache, over, tokenizer)
    require_positions(cache, None, tokenizer)
    with pytest.raises(InputError, match=r"sentence of clip 'clip 0' has \d+ tokens, more than the LLM's 3 positions"):
        require_positions(cache_of(tmp_path / "short.h5", (3, 2, 1)), 3, tokenizer)
