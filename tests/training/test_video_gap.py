"""The video gap of a model on dev: losses with a clip's own video, with a blank one, and with another clip's."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any

import pytest
import torch

from slt_cache.batches.targets import make_targets
from slt_cache.checkpoints.visual import new_visual_translator
from slt_cache.config import load_config
from slt_cache.corpora.base import Clip
from slt_cache.distributed.processes import shard
from slt_cache.encoders.frozen import FrozenEncoder
from slt_cache.metrics.video_gap import GAP, SWAPPED, SentenceLosses, sees_video
from slt_cache.models.translators import SignTranslator, make_light_t, token_loss
from slt_cache.text.tokenizer import Tokenizer
from slt_cache.training import video_gap as measuring
from slt_cache.training.tasks.visual import visual_optimizer
from slt_cache.training.video_gap import DevFeatures, deranged, measured, stretched, video_gap

DIM, CLIPS = 6, 20


@pytest.fixture
def translator(tokenizer: Tokenizer) -> SignTranslator:
    torch.manual_seed(0)
    light_t = make_light_t("tiny", len(tokenizer), tokenizer.pad, tokenizer.eos, dropout=0.3)
    translator = SignTranslator(DIM, light_t, tokenizer.start)
    for weight in _cross_attention(translator):
        weight.data *= 20  # an untrained model hardly depends on the video
    return translator


@pytest.fixture
def dev(sentences: list[str]) -> DevFeatures:
    """Clips of different lengths, which are all different, and blank videos of ones."""
    clips = [Clip(f"clip {number}", "dev", Path(), None, None, sentences[number]) for number in range(CLIPS)]
    generator = torch.Generator().manual_seed(1)
    features = {clip.id: torch.randn(2 + place % 5, DIM, generator=generator) for place, clip in enumerate(clips)}
    return DevFeatures(clips, lambda steps: {count: torch.ones(count, DIM) for count in steps}, features)


def mean_loss(translator: SignTranslator, tokenizer: Tokenizer, clips: Iterable[tuple[Clip, torch.Tensor]]) -> float:
    """Nats per token, clip by clip."""
    total, tokens = 0.0, 0
    with torch.no_grad():
        for clip, features in clips:
            targets = make_targets([tokenizer.encode(clip.text)], tokenizer)
            logits = translator(features, torch.tensor([len(features)]), targets.decoder_input_ids)
            total, tokens = total + float(token_loss(logits, targets.labels, 0.0)), tokens + targets.tokens
    return total / tokens


@torch.no_grad()
def test_the_gap_is_the_difference_of_unsmoothed_losses_whatever_the_batches(
    translator: SignTranslator, dev: DevFeatures, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = video_gap(translator, dev, tokenizer, seed=5)
    own = mean_loss(translator, tokenizer, ((clip, dev.own[clip.id]) for clip in dev.clips))
    blank = mean_loss(translator, tokenizer, ((clip, torch.ones_like(dev.own[clip.id])) for clip in dev.clips))
    others = zip(dev.clips, deranged([clip.text for clip in dev.clips], 5), strict=True)
    swapped = mean_loss(
        translator,
        tokenizer,
        ((clip, stretched(dev.own[dev.clips[other].id], len(dev.own[clip.id]))) for clip, other in others),
    )
    assert found[GAP] == pytest.approx(blank - own, abs=2e-4) and abs(found[GAP]) > 1e-3
    assert found[SWAPPED] == pytest.approx(swapped - own, abs=2e-4) and abs(found[SWAPPED]) > 1e-3
    monkeypatch.setattr(measuring, "BLOCK", 3)
    assert video_gap(translator, dev, tokenizer, seed=5) == pytest.approx(found, abs=2e-4)


@torch.no_grad()
def test_a_model_without_cross_attention_has_no_gap_and_one_that_reads_the_clips_has_one(
    translator: SignTranslator, dev: DevFeatures, tokenizer: Tokenizer
) -> None:
    with torch.enable_grad():
        _learn(translator, dev, tokenizer)
    gap = video_gap(translator, dev, tokenizer, seed=0)
    assert gap[GAP] > 0.1 and gap[SWAPPED] > 0.1 and sees_video(gap)
    for weight in _cross_attention(translator):
        weight.zero_()
    gap = video_gap(translator, dev, tokenizer, seed=0)
    assert set(gap.values()) == {0.0} and sees_video(gap) is False


def _cross_attention(translator: SignTranslator) -> list[torch.nn.Parameter]:
    return [
        one for layer in translator.seq2seq.get_decoder().layers for one in layer.encoder_attn.out_proj.parameters()
    ]


def _learn(translator: SignTranslator, dev: DevFeatures, tokenizer: Tokenizer) -> None:
    optimizer = torch.optim.Adam(translator.parameters(), 3e-3)
    targets = make_targets([tokenizer.encode(clip.text) for clip in dev.clips], tokenizer)
    features, lengths = torch.cat([*dev.own.values()]), torch.tensor([len(one) for one in dev.own.values()])
    translator.eval()
    for _ in range(12):
        optimizer.zero_grad()
        logits = translator(features, lengths, targets.decoder_input_ids)
        token_loss(logits, targets.labels, 0.0).div(targets.tokens).backward()
        optimizer.step()


@torch.no_grad()
def test_measuring_draws_no_random_number_and_uses_no_dropout(
    translator: SignTranslator, dev: DevFeatures, tokenizer: Tokenizer
) -> None:
    translator.train()
    before = torch.get_rng_state()
    first = video_gap(translator, dev, tokenizer, seed=0)
    assert torch.equal(torch.get_rng_state(), before)
    assert video_gap(translator, dev, tokenizer, seed=0) == first != video_gap(translator, dev, tokenizer, seed=1)


@torch.no_grad()
def test_processes_compute_the_losses_that_one_computes(
    translator: SignTranslator, dev: DevFeatures, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "BLOCK", 4)
    monkeypatch.setattr(measuring, "gap_of", list)
    expected: Any = video_gap(translator, dev, tokenizer, seed=0)
    found: list[SentenceLosses] = []
    for rank in range(3):
        monkeypatch.setattr("slt_cache.distributed.processes.rank", lambda rank=rank: rank)
        monkeypatch.setattr("slt_cache.distributed.processes.size", lambda: 3)
        own = {clip.id: dev.own[clip.id] for clip in shard(dev.clips, 3)}  # dev is decoded in other batches
        gathered = iter([lambda make: [*dev.own.items()], lambda make: make()])
        monkeypatch.setattr(measuring, "gather_object", lambda make, gathered=gathered: next(gathered)(make))
        found += video_gap(translator, replace(dev, own=own), tokenizer, seed=0)  # type: ignore[arg-type]
    assert sorted(found, key=lambda loss: loss.clip_id) == expected and len(found) == CLIPS


@torch.no_grad()
def test_clips_and_sentences_that_the_model_has_no_positions_for_are_truncated_as_in_translation(
    small_mbart: Any, dev: DevFeatures, tokenizer: Tokenizer
) -> None:
    translator = SignTranslator(DIM, small_mbart, tokenizer.start)
    assert translator.positions is not None and translator.target_positions is not None
    long = Clip("long", "dev", Path(), None, None, "im süden regnet es " * translator.target_positions)
    features = {"long": torch.randn(translator.positions + 3, DIM), "clip 0": dev.own["clip 0"]}
    assert GAP in video_gap(translator, DevFeatures([long, dev.clips[0]], dev.blank, features), tokenizer, seed=0)


def test_one_clip_has_no_gap(translator: SignTranslator, dev: DevFeatures, tokenizer: Tokenizer) -> None:
    assert video_gap(translator, replace(dev, clips=dev.clips[:1]), tokenizer, seed=0) == {}


@pytest.mark.parametrize("count", [2, 3, 10, 57])
@pytest.mark.parametrize("sentence", [str, lambda place: str(place // 3), lambda place: "the same"])
def test_every_clip_gets_the_video_of_another_one_and_if_possible_of_another_sentence(
    count: int, sentence: Callable[[int], str]
) -> None:
    sentences = [sentence(place) for place in range(count)]
    for seed in range(5):
        others = deranged(sentences, seed)
        assert sorted(others) == list(range(count)) and all(other != place for place, other in enumerate(others))
        assert others == deranged(sentences, seed)
        most = max(map(sentences.count, sentences))
        if 2 * most <= count:
            assert all(sentences[other] != sentences[place] for place, other in enumerate(others))
    if count > 3 and len(set(sentences)) == count:
        assert len({tuple(deranged(sentences, seed)) for seed in range(5)}) == 5


def test_a_swapped_video_has_the_clips_own_length() -> None:
    steps = torch.arange(4.0).unsqueeze(1)
    assert torch.equal(stretched(steps, 4), steps)
    assert stretched(steps, 8).flatten().tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert stretched(steps, 2).flatten().tolist() == [1, 3]
    assert stretched(steps[:1], 3).flatten().tolist() == [0, 0, 0]
    assert len(stretched(steps, 1)) == 1


def test_a_large_dev_split_is_measured_on_clips_from_all_of_it(
    dev: DevFeatures, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert measured(dev.clips) == dev.clips
    monkeypatch.setattr(measuring, "MOST_CLIPS", 7)
    some = measured(dev.clips)
    assert [clip.id for clip in some] == [f"clip {place}" for place in range(0, CLIPS, 3)]
    kept = DevFeatures(some, dev.blank)
    for clip_id, features in dev.own.items():
        kept.keep(clip_id, features)
    assert list(kept.own) == [clip.id for clip in some]


@pytest.mark.slow
def test_measuring_takes_under_3_percent_of_an_epoch_of_the_demo(tokenizer: Tokenizer, sentences: list[str]) -> None:
    """An epoch of its 1,170 training clips against its 150 dev clips, all of 20 kept frames."""
    config = load_config("avatar")
    model = new_visual_translator(config.encoder, config.video, config.light_t, tokenizer)
    optimizer = visual_optimizer(model, config.visual_training)
    batch, steps, size = config.visual_training.batch_size, 20, config.video.size
    frames = torch.randint(0, 256, (batch * steps, 3, size, size), dtype=torch.uint8)
    targets = make_targets([tokenizer.encode(text) for text in sentences[:batch]], tokenizer)

    def step() -> None:
        optimizer.zero_grad()
        logits = model(frames, torch.full((batch,), steps), targets.decoder_input_ids)
        token_loss(logits, targets.labels, 0.2).backward()
        optimizer.step()

    step()
    epoch = median(_seconds(step) for _ in range(5)) * 1170 / batch
    encoder = FrozenEncoder(model.encoder, level="sign", dtype="float32", device=torch.device("cpu"))
    clips = [Clip(str(place), "dev", Path(), None, None, sentences[place % len(sentences)]) for place in range(150)]
    features = {clip.id: torch.randn(steps, config.encoder.dim) for clip in clips}
    dev = DevFeatures(clips, partial(encoder.black_features, size=size), features)
    with torch.no_grad():
        gap = median(_seconds(lambda: video_gap(model.translator, dev, tokenizer, seed=0)) for _ in range(3))
    print(f"video gap: {gap:.2f} s of processor time, {gap / epoch:.2%} of an epoch of {epoch:.1f} s")
    assert gap < 0.03 * epoch


def _seconds(work: Callable[[], Any]) -> float:
    """Returns the processor time of a call: machines are busy."""
    begun = process_time()
    work()
    return process_time() - begun
