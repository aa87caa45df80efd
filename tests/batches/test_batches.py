"""Clips, cached features and noised text in batches."""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from slt_cache.batches.clips import AugmentedClips, ClipBatch, ClipCollator, clip_loader, frame_counts
from slt_cache.batches.denoising import NoisyText, infill, sentences_of, words_of
from slt_cache.batches.sampler import EpochOrder, Shard, ShortFirst, padding_fraction
from slt_cache.batches.targets import make_targets
from slt_cache.config import AugmentationConfig, VideoConfig
from slt_cache.corpora.base import Clip
from slt_cache.errors import InputError
from slt_cache.models.translators import IGNORED
from slt_cache.text.tokenizer import Tokenizer
from slt_cache.video.chunks import ChunkReader, ClipView
from slt_cache.video.stream import UnreadableVideo

MASK = -1
AUGMENTATION = AugmentationConfig(
    shift=0.1, flip=0.5, brightness=0.3, rotation=10.0, contrast=0.3, saturation=0.3, hue=0.1
)
"""Everything on."""
PLAIN = AugmentationConfig(phase=False, crop=False)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory, make_video: Callable[..., Path]) -> list[Clip]:
    """Clips of 9, 12, 15, 18 and 21 frames."""
    folder = tmp_path_factory.mktemp("clips")
    return [
        Clip(f"clip {n}", "train", make_video(folder / f"{n}.mp4", 9 + 3 * n, first=n), None, None, f"heute {n} grad")
        for n in range(5)
    ]


def with_a_broken_one(clips: list[Clip], folder: Path) -> list[Clip]:
    (folder / "broken.mp4").write_text("no video")
    return [*clips[:2], Clip("broken", "train", folder / "broken.mp4", None, None, "ein satz"), *clips[2:]]


# --- order


def epoch_of(order: EpochOrder, epoch: int) -> list[list[tuple[int, int]]]:
    order.epoch = epoch
    return list(order)


@pytest.mark.parametrize(("clips", "batch_size"), [(10, 3), (9, 3), (2, 5), (1, 1)])
def test_an_epoch_sees_every_clip_once(clips: int, batch_size: int) -> None:
    order = EpochOrder(clips, batch_size, seed=4, shuffle=True)
    batches = epoch_of(order, 7)
    assert len(batches) == len(order)
    assert sorted(index for batch in batches for _, index in batch) == list(range(clips))
    assert {epoch for batch in batches for epoch, _ in batch} == {7}
    assert all(len(batch) == batch_size for batch in batches[:-1])


def test_the_order_follows_from_seed_and_epoch() -> None:
    first = epoch_of(EpochOrder(50, 4, seed=1, shuffle=True), 3)
    order = EpochOrder(50, 4, seed=1, shuffle=True)
    other_epoch = epoch_of(order, 2)
    assert epoch_of(order, 3) == first

    def indices(batches: list[list[tuple[int, int]]]) -> list[int]:
        return [index for batch in batches for _, index in batch]

    assert indices(other_epoch) != indices(first)
    assert indices(epoch_of(EpochOrder(50, 4, seed=2, shuffle=True), 3)) != indices(first)


def test_a_curriculum_goes_from_short_to_long_clips_and_then_as_ever() -> None:
    lengths = phoenix_like(50).tolist()
    short_first = EpochOrder(50, 4, seed=1, shuffle=True, short_first=ShortFirst(lengths, 2))
    usual = EpochOrder(50, 4, seed=1, shuffle=True)
    first, second = ([index for batch in indices_of(short_first, epoch) for index in batch] for epoch in (1, 2))
    assert [lengths[index] for index in first] == sorted(lengths) == [lengths[index] for index in second]
    assert first != second and sorted(first) == list(range(50))  # equal lengths in another order
    assert len(indices_of(short_first, 1)) == len(short_first) == len(usual)
    assert epoch_of(short_first, 3) == epoch_of(usual, 3)
    bucketed = EpochOrder(50, 4, seed=1, shuffle=True, lengths=lengths, short_first=ShortFirst(lengths, 2))
    assert epoch_of(bucketed, 1) == epoch_of(short_first, 1)
    assert epoch_of(bucketed, 3) == epoch_of(EpochOrder(50, 4, seed=1, shuffle=True, lengths=lengths), 3)
    halves = [EpochOrder(50, 4, 1, True, shard=Shard(n, 2), short_first=ShortFirst(lengths, 2)) for n in (0, 1)]
    shards = zip(*(indices_of(half, 1) for half in halves), strict=True)
    assert [sorted(one + other) for one, other in shards] == [sorted(batch) for batch in indices_of(short_first, 1)]


def test_without_shuffling_the_order_is_that_of_the_manifest() -> None:
    batches = epoch_of(EpochOrder(5, 2, seed=1, shuffle=False), 1)
    assert batches == [[(1, 0), (1, 1)], [(1, 2), (1, 3)], [(1, 4)]]


def phoenix_like(clips: int) -> np.ndarray:
    """Steps of so many clips; mean 29 and from 4 to 120, as one frame in 4 of PHOENIX14T's."""
    random = np.random.default_rng(0)
    return np.clip(np.round(random.lognormal(np.log(26.5), 0.43, clips)), 4, 120).astype(int)


def indices_of(order: EpochOrder, epoch: int) -> list[list[int]]:
    return [[index for _, index in batch] for batch in epoch_of(order, epoch)]


@pytest.mark.parametrize("clips", [7096, 1000])
def test_batches_of_similar_length_waste_under_a_tenth(clips: int) -> None:
    lengths = phoenix_like(clips)
    bucketed = padding_fraction(lengths, indices_of(EpochOrder(clips, 16, 1, shuffle=True, lengths=lengths), 1))
    shuffled = padding_fraction(lengths, indices_of(EpochOrder(clips, 16, 1, shuffle=True), 1))
    print(f"{clips} clips: {bucketed:.1%} of the positions are padding, {shuffled:.1%} shuffled")
    assert bucketed < 0.10
    assert shuffled > 0.35


def test_the_padded_share_counts_positions() -> None:
    assert padding_fraction([4, 1, 3], [[0, 1], [2]]) == pytest.approx(3 / 11)
    assert padding_fraction([4, 4], [[1, 0]]) == 0.0
    assert padding_fraction([], []) == 0.0


@pytest.mark.parametrize(("clips", "batch_size"), [(1000, 16), (401, 16), (33, 16), (17, 16), (9, 3), (2, 5), (1, 1)])
def test_an_epoch_of_buckets_sees_every_clip_once(clips: int, batch_size: int) -> None:
    order = EpochOrder(clips, batch_size, seed=4, shuffle=True, lengths=phoenix_like(clips))
    batches = epoch_of(order, 7)
    assert len(batches) == len(order)
    assert sorted(index for batch in batches for _, index in batch) == list(range(clips))
    assert {epoch for batch in batches for epoch, _ in batch} == {7}
    assert clips == 1 or min(map(len, batches)) > 1  # a single clip at the end joins another batch
    assert sum(len(batch) != batch_size for batch in batches) <= 1


def test_buckets_follow_from_seed_and_epoch_and_come_in_no_order_of_length() -> None:
    lengths = phoenix_like(7096)

    def batches(seed: int, epoch: int) -> list[list[int]]:
        return indices_of(EpochOrder(7096, 16, seed, shuffle=True, lengths=lengths), epoch)

    assert batches(1, 3) == batches(1, 3)
    assert batches(1, 3) != batches(1, 2)
    assert batches(1, 3) != batches(2, 3)
    longest = [int(lengths[batch].max()) for batch in batches(1, 3)]
    assert abs(np.corrcoef(longest, range(len(longest)))[0, 1]) < 0.3
    together = [{frozenset(batch) for batch in batches(1, epoch)} for epoch in (1, 2)]
    assert not together[0] & together[1]  # the same clips do not meet again


def test_without_shuffling_the_longest_clips_come_first() -> None:
    assert indices_of(EpochOrder(5, 2, seed=1, shuffle=False, lengths=[3, 9, 9, 1, 4]), 1) == [[1, 2], [4, 0], [3]]
    assert indices_of(EpochOrder(0, 2, seed=1, shuffle=False, lengths=[]), 1) == []


# --- targets


def test_targets_are_shifted_by_the_language_code_and_padded(tokenizer: Tokenizer) -> None:
    targets = make_targets([[11, 12, 13], [14]], tokenizer)
    code, eos, padding = tokenizer.language_code(), tokenizer.eos, tokenizer.pad
    assert targets.decoder_input_ids.tolist() == [[code, 11, 12, 13], [code, 14, padding, padding]]
    assert targets.labels.tolist() == [[11, 12, 13, eos], [14, eos, IGNORED, IGNORED]]
    assert targets.tokens == 6


def test_start_tokens_beyond_the_first_do_not_count(tokenizer: Tokenizer) -> None:
    targets = make_targets([[11, 12]], Tokenizer(tokenizer.inner, tokenizer.language, (7, 8)))
    assert targets.decoder_input_ids.tolist() == [[7, 8, 11, 12]]
    assert targets.labels.tolist() == [[IGNORED, 11, 12, tokenizer.eos]]
    assert targets.tokens == 3


# --- clips


def images_of(data: AugmentedClips, epoch: int, index: int) -> torch.Tensor:
    item = data[epoch, index]
    assert not isinstance(item, UnreadableVideo)
    return item.images


@pytest.mark.parametrize("phase", [False, True])
def test_an_augmented_clip_follows_from_seed_epoch_and_index(
    clips: list[Clip], small_video: VideoConfig, phase: bool
) -> None:
    augmentation = AUGMENTATION.model_copy(update={"phase": phase})
    data = AugmentedClips(clips, small_video, augmentation, seed=5)
    first = images_of(data, 2, 3)
    for other in ((1, 3), (2, 1), (2, 0)):
        assert images_of(data, *other).dtype == torch.uint8  # whatever is asked for in between
    assert torch.equal(images_of(data, 2, 3), first)
    assert torch.equal(images_of(AugmentedClips(clips, small_video, augmentation, seed=5), 2, 3), first)
    others = [images_of(data, epoch, 3) for epoch in range(3, 8)]
    others.append(images_of(AugmentedClips(clips, small_video, augmentation, seed=6), 2, 3))
    assert not any(other.shape == first.shape and torch.equal(other, first) for other in others)


def test_frames_are_dropped_at_random_and_two_stay_at_least(clips: list[Clip], small_video: VideoConfig) -> None:
    video = small_video.model_copy(update={"keep_rate": 1.0})
    whole = images_of(AugmentedClips(clips, video, PLAIN, seed=5), 2, 3)
    data = AugmentedClips(clips, video, PLAIN, seed=5, frame_dropout=0.5)
    fewer = images_of(data, 2, 3)
    assert 2 <= len(fewer) < len(whole)
    left = iter(whole)
    assert all(any(torch.equal(frame, other) for other in left) for frame in fewer)  # in their order
    assert torch.equal(images_of(data, 2, 3), fewer)
    assert len({len(images_of(data, epoch, 3)) for epoch in range(1, 9)}) > 1
    almost_all = AugmentedClips(clips, video, PLAIN, seed=5, frame_dropout=0.999)
    assert len(images_of(almost_all, 1, 3)) == 2
    assert frame_counts(clips, video)[3] == len(whole)


def test_two_clips_of_the_same_frames_are_augmented_differently(clips: list[Clip], small_video: VideoConfig) -> None:
    twins = [clips[2], replace(clips[2], id="twin")]
    data = AugmentedClips(twins, small_video, AUGMENTATION.model_copy(update={"phase": False}), seed=5)
    assert not torch.equal(images_of(data, 1, 0), images_of(data, 1, 1))


def test_a_random_phase_moves_the_kept_frames(clips: list[Clip], small_video: VideoConfig) -> None:
    data = AugmentedClips(clips, small_video, AugmentationConfig(phase=True, crop=False), seed=0)
    seen = {images_of(data, epoch, 1).numpy().tobytes() for epoch in range(40)}
    assert len(seen) == 4  # 12 frames, one in 4, begun at 0, 1, 2 or 3


def test_without_augmentation_a_clip_is_read_as_the_encoder_sees_it_later(
    clips: list[Clip], small_video: VideoConfig
) -> None:
    data = AugmentedClips(clips, small_video, PLAIN, seed=5)
    for index, clip in enumerate(clips):
        *pieces, _ = ChunkReader(small_video).events(ClipView(clip))
        assert torch.equal(images_of(data, 1, index), torch.cat([piece for piece in pieces if torch.is_tensor(piece)]))
    assert images_of(data, 1, 1).shape == (3, 3, 32, 32)  # 12 frames, one in 4


@pytest.mark.parametrize("workers", [0, 2])
def test_an_unreadable_clip_comes_back_as_its_error(
    clips: list[Clip], small_video: VideoConfig, tmp_path: Path, workers: int
) -> None:
    data = AugmentedClips(with_a_broken_one(clips, tmp_path), small_video, AUGMENTATION, seed=0)
    order = [(1, index) for index in range(6)]
    items: list[Any] = list(DataLoader(data, batch_size=None, sampler=order, num_workers=workers))
    assert [item.clip_id for item in items if isinstance(item, UnreadableVideo)] == ["broken"]
    assert isinstance(items[2], UnreadableVideo)
    assert "broken.mp4" in str(items[2])
    assert items[2].reason
    assert [item.clip.id for item in items if not isinstance(item, UnreadableVideo)] == [clip.id for clip in clips]


@pytest.mark.parametrize("workers", [0, 2])
def test_an_unreadable_clip_travels_through_training_batches_as_an_error(
    clips: list[Clip], small_video: VideoConfig, tokenizer: Tokenizer, tmp_path: Path, workers: int
) -> None:
    mixed = with_a_broken_one(clips, tmp_path)
    loader = clip_loader(
        mixed, small_video, tokenizer, batch_size=2, workers=workers, seed=0, augmentation=AUGMENTATION
    )
    batches: list[Any] = list(loader)
    errors = [batch for batch in batches if isinstance(batch, UnreadableVideo)]
    assert [error.clip_id for error in errors] == ["broken"]
    assert len(batches) == 3


def test_a_batch_packs_frames_without_padding(
    clips: list[Clip], small_video: VideoConfig, tokenizer: Tokenizer
) -> None:
    data = AugmentedClips(clips, small_video, PLAIN, seed=0)
    batch = ClipCollator(tokenizer)([data[1, 4], data[1, 0]])
    assert isinstance(batch, ClipBatch)
    assert batch.ids == ("clip 4", "clip 0")
    assert batch.lengths.tolist() == [6, 3]
    assert torch.equal(batch.frames, torch.cat([images_of(data, 1, n) for n in (4, 0)]))
    expected = make_targets([tokenizer.encode("heute 4 grad"), tokenizer.encode("heute 0 grad")], tokenizer)
    assert torch.equal(batch.targets.labels, expected.labels)


def test_the_number_of_workers_does_not_change_the_batches(
    clips: list[Clip], small_video: VideoConfig, tokenizer: Tokenizer
) -> None:
    seen = []
    for workers in (0, 1, 3):
        loader = clip_loader(
            clips, small_video, tokenizer, batch_size=2, workers=workers, seed=3, augmentation=AUGMENTATION
        )
        order = loader.batch_sampler
        assert isinstance(order, EpochOrder)
        epochs = []
        for epoch in (1, 2):
            order.epoch = epoch
            epochs += [(batch.ids, batch.frames.numpy().tobytes()) for batch in loader]
        seen.append(epochs)
    assert seen[0] == seen[1] == seen[2]
    first, second = dict(seen[0][:2]), dict(seen[0][2:])
    assert first != second


# --- noised text


def infilled(words: list[list[int]], ratio: float, seed: int, span_mean: float = 3.5) -> list[int]:
    return infill(words, MASK, ratio, span_mean, np.random.default_rng(seed))


SENTENCE = [[number, number + 1000] for number in range(20)]


@pytest.mark.parametrize("ratio", [0.1, 0.35, 0.8])
def test_about_the_asked_share_of_words_is_masked(ratio: float) -> None:
    gone = []
    for seed in range(200):
        ids = infilled(SENTENCE, ratio, seed)
        kept = [word for word in ids if 0 <= word < 1000]
        assert kept == sorted(set(kept))  # in order, none twice
        assert all(word + 1000 in ids for word in kept)  # words are masked whole
        assert MASK in ids
        gone.append(20 - len(kept))
    assert max(gone) <= round(ratio * 20)
    assert ratio * 20 * 0.8 < np.mean(gone) <= ratio * 20


def test_a_masked_span_becomes_one_mask() -> None:
    one_span = [infilled(SENTENCE, 0.35, seed, span_mean=50.0) for seed in range(50)]
    assert all(ids.count(MASK) == 1 for ids in one_span)
    assert all(len(ids) == 2 * (20 - 7) + 1 for ids in one_span)


def test_masked_spans_are_poisson_distributed() -> None:
    """Among so many words that spans hardly ever meet, the gap at a mask is a span."""
    spans: list[int] = []
    for seed in range(40):
        before = -1
        for word in infilled([[number] for number in range(4000)], 0.03, seed):
            if word == MASK:
                spans.append(0)
            elif word > before + 1:
                spans[-1] = word - before - 1
            before = word if word != MASK else before
    assert len(spans) > 1000
    counts = np.bincount(spans, minlength=8)[:8] / len(spans)
    poisson = [math.exp(-3.5) * 3.5**length / math.factorial(length) for length in range(8)]
    assert np.mean(spans) == pytest.approx(3.5, abs=0.2)
    assert np.var(spans) == pytest.approx(3.5, abs=0.5)
    assert counts == pytest.approx(poisson, abs=0.03)


def test_nothing_is_masked_at_ratio_0() -> None:
    assert infilled(SENTENCE, 0.0, 1) == [token for word in SENTENCE for token in word]


def test_infilling_follows_from_the_generators_seed() -> None:
    assert infilled(SENTENCE, 0.35, 1) == infilled(SENTENCE, 0.35, 1)
    assert infilled(SENTENCE, 0.35, 1) != infilled(SENTENCE, 0.35, 2)


@pytest.mark.parametrize("ratio", [0.0, 0.35, 1.0])
def test_infilling_leaves_something_of_every_sentence(ratio: float) -> None:
    for length in range(1, 8):
        for seed in range(30):
            assert infilled([[number] for number in range(length)], ratio, seed)
    assert infilled([], ratio, 0) == []


def test_words_begin_at_marked_pieces(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("heute regnet es im süden")
    words = words_of(ids, tokenizer)
    assert [tokenizer.decode(word) for word in words] == ["heute", "regnet", "es", "im", "süden"]
    assert [piece for word in words for piece in word] == ids


def test_in_writing_without_blanks_every_piece_is_a_word(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("今下雪，有大风。")
    assert len(ids) > 2
    assert words_of(ids, tokenizer) == [[piece] for piece in ids]
    assert words_of([], tokenizer) == []


def test_wide_characters_are_words_where_there_are_blanks_too(tokenizer: Tokenizer) -> None:
    """Else a whole Chinese sentence between two blanks would be masked at once, or not at all."""
    words = [tokenizer.decode(word) for word in words_of(tokenizer.encode("今下雪 heute regnet 有大风"), tokenizer)]
    assert [word for word in words if word.isascii()] == ["heute", "regnet"]
    assert max(len(word) for word in words if not word.isascii()) <= 2  # a piece


def test_a_line_that_is_too_long_for_the_llm_is_named(tokenizer: Tokenizer) -> None:
    text = noisy_text(["heute regnet es", "im süden " * 40], tokenizer)
    text.require_positions(400)
    with pytest.raises(InputError, match=r"sentence 2 \('im süden .*\d+ tokens, too many for the 60 positions"):
        text.require_positions(60)


def cut(line: str, tokenizer: Tokenizer) -> list[str]:
    words = words_of(tokenizer.encode(line), tokenizer)
    sentences = sentences_of(words, tokenizer)
    assert [word for sentence in sentences for word in sentence] == words
    return [tokenizer.decode([piece for word in sentence for piece in word]) for sentence in sentences]


@pytest.mark.parametrize(
    "parts",
    [
        ["heute regnet es im süden"],
        ["heute regnet es .", "am dienstag weht ein wind .", "im norden"],
        ["heute regnet es.", "weht ein wind.", "Good evening."],
        ["am 10. dienstag regnet es"],
        ["今下雪，有大风。", "明天晴，吗？", "今天晴"],
    ],
)
def test_a_line_is_cut_where_sentences_end(parts: list[str], tokenizer: Tokenizer) -> None:
    blank = "" if "。" in parts[0] else " "
    assert cut(blank.join(parts), tokenizer) == parts


class Spelling:
    """A tokenizer that only spells: a piece is its text."""

    def convert_ids_to_tokens(self, pieces: list[str]) -> list[str]:
        return pieces


def test_closing_marks_stay_with_their_sentence_and_numbers_whole() -> None:
    tokenizer: Any = SimpleNamespace(inner=Spelling())
    chinese: Any = [[piece] for piece in ("▁他说", "：“", "下雨", "。", "”", "3", ".", "5", "度", "！", "好")]
    cut_there: Any = sentences_of(chinese, tokenizer)
    texts = ["".join(piece for [piece] in sentence) for sentence in cut_there]
    assert texts == ["▁他说：“下雨。”", "3.5度！", "好"]
    spoken: Any = [["▁Hi", '."'], ["▁He", "y"], ["▁", "..."], ["▁So"]]
    assert [len(sentence) for sentence in sentences_of(spoken, tokenizer)] == [1, 2, 1]
    assert sentences_of([], tokenizer) == []


def test_sentences_of_a_line_are_permuted_in_the_source_alone(tokenizer: Tokenizer) -> None:
    parts = ["heute regnet es .", "am dienstag weht ein wind .", "im norden fällt schnee ."]
    text = noisy_text([" ".join(parts)] * 60, tokenizer, mask_ratio=0.0, permute_sentences=True)
    seen: Counter[str] = Counter()
    for batch in text.epoch(1):
        seen.update(tokenizer.decode(ids) for ids in batch.input_ids.tolist())
        for labels in batch.targets.labels:
            assert tokenizer.decode(labels[labels != IGNORED].tolist()) == " ".join(parts)
    assert set(seen) == {" ".join(order) for order in permutations(parts)}
    assert min(seen.values()) >= 3


def test_permuting_changes_nothing_where_lines_are_single_sentences(tokenizer: Tokenizer) -> None:
    single = ["heute regnet es im süden .", "今下雪，有大风。", "Good evening, ladies and gentlemen: 10 degrees."] * 9
    plain, permuting = (noisy_text(single, tokenizer, permute_sentences=value) for value in (False, True))
    for batch, other in zip(plain.epoch(2), permuting.epoch(2), strict=True):
        assert torch.equal(batch.input_ids, other.input_ids)


def noisy_text(sentences: list[str], tokenizer: Tokenizer, **changes: Any) -> NoisyText:
    options: dict[str, Any] = {"batch_size": 7, "seed": 1, "mask_ratio": 0.35, "span_mean": 3.5}
    return NoisyText(sentences, tokenizer, **(options | changes))


def test_an_epoch_of_noised_text_restores_every_sentence_once(sentences: list[str], tokenizer: Tokenizer) -> None:
    text = noisy_text(sentences, tokenizer)
    restored: Counter[str] = Counter()
    for batch in text.epoch(1):
        for labels in batch.targets.labels:
            restored[tokenizer.decode(labels[labels != IGNORED].tolist())] += 1
    assert restored == Counter(sentences)


def test_noised_sentences_are_framed_and_padded(sentences: list[str], tokenizer: Tokenizer) -> None:
    masks = 0
    for batch in noisy_text(sentences, tokenizer).epoch(1):
        for ids, mask in zip(batch.input_ids, batch.mask.bool(), strict=True):
            assert ids[mask][-2:].tolist() == [tokenizer.eos, tokenizer.language_code()]
            assert tokenizer.pad not in ids[mask]
            assert set(ids[~mask].tolist()) <= {tokenizer.pad}
            masks += int((ids == tokenizer.mask).sum())
    assert masks >= len(sentences)


def test_noise_follows_from_seed_and_epoch(sentences: list[str], tokenizer: Tokenizer) -> None:
    def inputs(text: NoisyText, epoch: int) -> list[list[list[int]]]:
        return [batch.input_ids.tolist() for batch in text.epoch(epoch)]

    text = noisy_text(sentences, tokenizer)
    first, other_epoch = inputs(text, 1), inputs(text, 2)
    assert inputs(noisy_text(sentences, tokenizer), 1) == first
    assert inputs(text, 1) == first
    assert other_epoch != first
    assert inputs(noisy_text(sentences, tokenizer, seed=2), 1) != first


def test_without_noise_the_input_is_the_sentence(sentences: list[str], tokenizer: Tokenizer) -> None:
    for batch in noisy_text(sentences, tokenizer, mask_ratio=0.0).epoch(1):
        for number, ids in zip(batch.ids, batch.input_ids.tolist(), strict=True):
            assert tokenizer.decode(ids) == sentences[int(number.removeprefix("sentence ")) - 1]
