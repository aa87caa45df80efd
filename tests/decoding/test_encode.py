"""The frozen encoder: events of a reader in, features of each clip out, whatever lies beside it."""

import weakref
from collections.abc import Callable, Iterable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch

from slt_cache.corpora.base import Clip
from slt_cache.decoding.encode import EncodedClip, UnstorableFeatures, _Packer, encode, packed, usable
from slt_cache.encoders.frozen import FrozenEncoder
from slt_cache.encoders.visual_encoder import VisualEncoder
from slt_cache.models.translators import SignTranslator, VisualTranslator, make_light_t
from slt_cache.text.tokenizer import Tokenizer
from slt_cache.video.chunks import ClipEnd, Event
from slt_cache.video.stream import UnreadableVideo

DIM = 8
SIZE = 32
"""Pixels"""
CPU = torch.device("cpu")
BATCHES = (1, 5, None)
"""Frames in a pass of the backbone; None is what suits the device, here more than all clips have."""


@pytest.fixture
def model(tokenizer: Tokenizer) -> VisualTranslator:
    """Whose BatchNorms are not those of an untrained network."""
    encoder = VisualEncoder("resnet18", DIM, 3, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    for module in encoder.modules():
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, std=0.2)
            torch.nn.init.normal_(module.running_mean, std=0.2)  # type: ignore[arg-type]
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)  # type: ignore[arg-type]
    seq2seq = make_light_t("tiny", len(tokenizer), tokenizer.pad, tokenizer.eos, dropout=0.1)
    return VisualTranslator(encoder, SignTranslator(DIM, seq2seq, tokenizer.start))


def frozen(model: VisualTranslator, batch_frames: int | None = None, **options: Any) -> FrozenEncoder:
    return FrozenEncoder(
        model.encoder,
        translator=model.translator,
        **{"level": "sign", "dtype": "float32", "device": CPU, "batch_frames": batch_frames, **options},
    )


def frames_of(number: int, length: int) -> torch.Tensor:
    """uint8 [T', 3, S, S], noise whose brightness differs from clip to clip."""
    random = torch.Generator().manual_seed(number)
    return torch.randint(0, 40 + 30 * (number % 8), (length, 3, SIZE, SIZE), generator=random).to(torch.uint8)


LENGTHS = (7, 1, 4, 12, 2)


def clip_of(number: int) -> Clip:
    return Clip(str(number), "test", Path(f"{number}.mp4"), None, None, "")


def unreadable(number: int) -> UnreadableVideo:
    return UnreadableVideo(str(number), Path(f"{number}.mp4"), "it is cut off")


def events_of(number: int, length: int, piece: int = 3) -> Iterator[Event]:
    yield from frames_of(number, length).split(piece)
    yield ClipEnd(clip_of(number), 0, 4 * length, 25.0)


def all_events(piece: int = 3) -> Iterator[Event]:
    for number, length in enumerate(LENGTHS):
        yield from events_of(number, length, piece)


def features_of(encoded: Iterable[Any]) -> list[torch.Tensor]:
    return [clip.features for clip in usable(encoded)]


def assert_close(found: torch.Tensor, expected: torch.Tensor, error: float = 1e-5) -> None:
    """Relative to the largest feature: convolutions of other batch sizes add up in another order."""
    assert found.shape == expected.shape
    assert float((found - expected).abs().max()) <= error * float(expected.abs().max())


@pytest.mark.parametrize("level", ["frame", "sign", "hidden"])
def test_encoding_changes_no_tensor_of_the_model(model: VisualTranslator, level: str) -> None:
    """BatchNorm statistics among them."""
    model.train()
    before = deepcopy(model.state_dict())
    features = features_of(encode(frozen(model, 5, level=level), all_events()))
    assert [len(clip) for clip in features] == list(LENGTHS)
    after = model.state_dict()
    assert list(after) == list(before)
    for name, tensor in before.items():
        assert torch.equal(after[name], tensor), name
    assert not any(clip.requires_grad for clip in features)


@pytest.mark.parametrize("level", ["frame", "sign", "hidden"])
def test_the_model_may_be_trained_on_while_its_copy_encodes(model: VisualTranslator, level: str) -> None:
    encoder = frozen(model, 5, level=level)
    first = features_of(encode(encoder, all_events()))
    model.train()
    before = deepcopy(model.state_dict())
    again = features_of(encode(encoder, all_events()))
    for name, tensor in before.items():
        assert torch.equal(model.state_dict()[name], tensor), name
    for found, expected in zip(again, first, strict=True):
        assert torch.equal(found, expected)


@pytest.mark.parametrize("batch_frames", BATCHES)
@pytest.mark.parametrize("level", ["frame", "sign", "hidden"])
def test_features_of_each_level_equal_a_plain_computation(
    model: VisualTranslator, level: str, batch_frames: int | None
) -> None:
    found = features_of(encode(frozen(model, batch_frames, level=level), all_events()))
    model.eval()
    for number, (features, length) in enumerate(zip(found, LENGTHS, strict=True)):
        lengths = torch.tensor([length])
        with torch.no_grad():
            expected = model.encoder.frame_features(frames_of(number, length))
            if level != "frame":
                expected = model.encoder.temporal(expected, lengths)
            if level == "hidden":
                expected = model.translator.hidden(expected, lengths)
        assert features.shape[1] == {"frame": 512, "sign": DIM, "hidden": 256}[level]
        assert_close(features, expected, 1e-4 if level == "hidden" else 1e-5)


# --- clips beside one another


@pytest.mark.parametrize("batch_frames", BATCHES)
def test_features_of_a_clip_do_not_depend_on_its_neighbours(model: VisualTranslator, batch_frames: int | None) -> None:
    together = list(usable(encode(frozen(model, batch_frames), all_events())))
    assert [clip.end.clip.id for clip in together] == ["0", "1", "2", "3", "4"]
    assert [clip.end.num_frames for clip in together] == [4 * length for length in LENGTHS]
    for number, length in enumerate(LENGTHS):
        [alone] = features_of(encode(frozen(model, batch_frames), events_of(number, length)))
        assert_close(together[number].features, alone)
        others = [other for other in range(len(LENGTHS)) if LENGTHS[other] >= length and other != number]
        for other in others:
            cut = together[other].features[:length]
            assert float((cut - alone).abs().max()) > 1e-3 * float(alone.abs().max())


@pytest.mark.parametrize("batch_frames", BATCHES)
def test_features_are_the_same_to_the_bit_however_a_clip_was_cut(
    model: VisualTranslator, batch_frames: int | None
) -> None:
    whole = features_of(encode(frozen(model, batch_frames), all_events(100)))
    for piece in (1, 2, 5):
        pieces = features_of(encode(frozen(model, batch_frames), all_events(piece)))
        assert all(torch.equal(*pair) for pair in zip(pieces, whole, strict=True))


def test_features_hardly_depend_on_the_frames_in_a_pass(model: VisualTranslator) -> None:
    first, *others = (features_of(encode(frozen(model, batch), all_events())) for batch in BATCHES)
    for other in others:
        for found, expected in zip(other, first, strict=True):
            assert_close(found, expected)


def test_a_piece_may_be_overwritten_once_the_next_is_asked_for(model: VisualTranslator) -> None:
    """As the ring of the reader processes does."""

    def reused() -> Iterator[Event]:
        for event in all_events():
            if not isinstance(event, torch.Tensor):
                yield event
                continue
            piece = event.clone()
            yield piece
            piece.fill_(255)

    for batch_frames in BATCHES:
        expected = features_of(encode(frozen(model, batch_frames), all_events()))
        found = features_of(encode(frozen(model, batch_frames), reused()))
        assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))


# --- clips without features


@pytest.mark.parametrize("batch_frames", BATCHES)
@pytest.mark.parametrize("pieces", [0, 1, 2, 4])
def test_a_clip_that_becomes_unreadable_midway_disturbs_no_other(
    model: VisualTranslator, batch_frames: int | None, pieces: int
) -> None:
    def events() -> Iterator[Event]:
        yield from events_of(0, 7)
        yield from frames_of(9, 12).split(3)[:pieces]
        yield unreadable(9)
        yield from events_of(3, 12)

    first, error, last = encode(frozen(model, batch_frames), events())
    assert isinstance(error, UnreadableVideo)
    assert error.clip_id == "9"
    expected = features_of(encode(frozen(model, batch_frames), [*events_of(0, 7), *events_of(3, 12)]))
    for clip, features in zip(usable([first, last]), expected, strict=True):
        assert_close(clip.features, features)


@pytest.mark.parametrize("batch_frames", BATCHES)
def test_every_clip_comes_back_in_its_place(model: VisualTranslator, batch_frames: int | None) -> None:
    broken = {0, 3, 4, 8, 9}

    def events() -> Iterator[Event]:
        for number in range(10):
            if number in broken:
                yield from frames_of(number, number % 3)
                yield unreadable(number)
            else:
                yield from events_of(number, 1 + number)

    def with_pieces() -> Iterator[Event]:
        for event in events():
            yield event[None] if isinstance(event, torch.Tensor) and event.ndim == 3 else event

    found = list(encode(frozen(model, batch_frames), with_pieces()))
    ids = [clip.end.clip.id if isinstance(clip, EncodedClip) else clip.clip_id for clip in found]
    assert ids == [str(number) for number in range(10)]
    assert {number for number, clip in enumerate(found) if isinstance(clip, UnreadableVideo)} == broken
    assert [len(clip.features) for clip in found if isinstance(clip, EncodedClip)] == [2, 3, 6, 7, 8]


@pytest.mark.parametrize("events", [[], [unreadable(1)], [unreadable(1), unreadable(2)]])
def test_without_a_readable_clip_there_are_no_features(model: VisualTranslator, events: list[Event]) -> None:
    assert list(encode(frozen(model), events)) == events


def test_features_that_the_type_cannot_hold_cost_their_clip_alone(model: VisualTranslator) -> None:
    temporal = model.encoder.temporal
    plain = features_of(encode(frozen(model), all_events()))
    largest = [float(clip.abs().max()) for clip in plain]
    loud = largest.index(max(largest))
    with torch.no_grad():  # the loudest clip just above what float16 holds, the others below
        factor = 65504 * 1.02 / largest[loud]
        temporal.norm.weight.mul_(factor)
        temporal.norm.bias.mul_(factor)
    assert sorted(largest)[-2] * factor < 65504
    found = list(encode(frozen(model, dtype="float16"), all_events()))
    [error] = [clip for clip in found if not isinstance(clip, EncodedClip)]
    assert error is found[loud]
    assert isinstance(error, UnstorableFeatures)
    assert (error.clip_id, error.reason) == (str(loud), "its features are not finite in float16")
    assert f"clip '{loud}'" in str(error)
    assert "features.dtype=float32" in str(error)
    assert str(UnstorableFeatures("a", "float32", False)).endswith("not finite in float32. Use another encoder.")
    assert len(features_of(encode(frozen(model), all_events()))) == len(LENGTHS)


@pytest.mark.parametrize(("factor", "reason"), [(1e-9, "its features are all too close to 0 for float16"), (0.0, None)])
def test_features_that_vanish_in_the_type_are_not_stored(
    model: VisualTranslator, factor: float, reason: str | None
) -> None:
    with torch.no_grad():
        model.encoder.temporal.norm.weight.mul_(factor)
        model.encoder.temporal.norm.bias.mul_(factor)
    found = list(encode(frozen(model, dtype="float16"), all_events()))
    assert [None if isinstance(clip, EncodedClip) else clip.reason for clip in found] == [reason] * len(LENGTHS)
    assert len(features_of(encode(frozen(model), all_events()))) == len(LENGTHS)


def test_translation_stops_at_the_first_clip_without_features(model: VisualTranslator) -> None:
    clips = usable(encode(frozen(model), [*events_of(0, 7), unreadable(9), *events_of(3, 12)]))
    assert next(clips).end.clip.id == "0"
    with pytest.raises(UnreadableVideo, match="'9'"):
        next(clips)


# --- memory


@pytest.mark.parametrize("batch_frames", [1, 5])
def test_frames_of_a_long_clip_are_never_held_whole(model: VisualTranslator, batch_frames: int) -> None:
    alive: weakref.WeakSet[torch.Tensor] = weakref.WeakSet()
    most = 0

    def pieces() -> Iterator[Event]:
        nonlocal most
        for number in range(100):
            piece = frames_of(number, 2)
            alive.add(piece)
            most = max(most, len(alive))
            yield piece
            del piece
        yield ClipEnd(clip_of(0), 0, 800, 25.0)

    [features] = features_of(encode(frozen(model, batch_frames), pieces()))
    assert len(features) == 200
    assert most <= 2  # the one that is copied, and the one that is made


def test_the_buffer_holds_the_frames_of_one_pass(model: VisualTranslator) -> None:
    packer = _Packer(frozen(model, 5))
    for event in events_of(0, 43):
        assert all(done == [] for done in packer.add(event))
        assert packer.buffer is not None
        assert packer.buffer.shape == (5, 3, SIZE, SIZE)
        assert packer._filled() < 5
    [(end, features)] = packer.finish()
    assert isinstance(end, ClipEnd)
    assert features is not None
    assert len(features) == 43


def counted(events: Iterable[Event]) -> tuple[Iterator[Event], Callable[[], int]]:
    taken = 0

    def progress_counter() -> Iterator[Event]:
        nonlocal taken
        for event in events:
            taken += 1
            yield event

    return progress_counter(), lambda: taken


def test_events_are_taken_as_they_are_needed(model: VisualTranslator) -> None:
    events, taken = counted(event for number in range(50) for event in events_of(number, 4, 1))  # 5 events each
    clips = encode(frozen(model, 4), events)
    assert taken() == 0
    for number in range(10):
        clip = next(clips)
        assert isinstance(clip, EncodedClip)
        assert clip.end.clip.id == str(number)
        assert taken() <= 5 * (number + 4)


# --- for beam search


def test_clips_are_put_together_for_beam_search(model: VisualTranslator) -> None:
    clips = list(usable(encode(frozen(model), all_events())))
    batches = list(packed(clips, 2))
    assert [batch.ids for batch in batches] == [("0", "1"), ("2", "3"), ("4",)]
    assert [batch.lengths.tolist() for batch in batches] == [[7, 1], [4, 12], [2]]
    for batch, number in zip(batches, (0, 2, 4), strict=True):
        assert torch.equal(batch.features, torch.cat([clip.features for clip in clips[number : number + 2]]))
