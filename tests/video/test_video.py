"""Videos and frame folders -> kept frames -> the square that the encoder sees."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import functional as F

from slt_cache.config import AugmentationConfig, VideoConfig
from slt_cache.corpora.base import Clip
from slt_cache.video import stream as stream_module
from slt_cache.video.frames import KeptFrames, kept_indices, open_frames, read_kept_frames
from slt_cache.video.stream import UnreadableVideo
from slt_cache.video.transforms import (
    Augmentation,
    adjust_contrast,
    augment,
    centre_crop,
    draw_augmentation,
    rotate,
    square,
)

REAL_CLIPS = Path(__file__).parents[3] / "shared" / "real" / "how2sign" / "clips"

NumberOf = Callable[[np.ndarray], int]
NumberedFrame = Callable[[int], np.ndarray]


def clip_of(video: Path, start: float | None = None, end: float | None = None) -> Clip:
    return Clip("a clip", "train", video, start, end, "ein satz")


def refusal(clip: Clip) -> UnreadableVideo:
    with pytest.raises(UnreadableVideo) as refused:
        read_kept_frames(clip, 1)
    assert refused.value.clip_id == "a clip"
    assert "'a clip'" in str(refused.value)
    assert str(clip.video) in str(refused.value)
    return refused.value


def numbers(kept: KeptFrames, number_of: NumberOf) -> list[int]:
    return [number_of(frame) for frame in kept.frames]


@pytest.mark.parametrize("keep_every", [1, 2, 4, 8])
def test_one_frame_in_so_many_is_kept_from_the_first_on(keep_every: int) -> None:
    for num_frames in range(1, 21):
        kept = list(kept_indices(num_frames, keep_every))
        assert len(kept) == -(-num_frames // keep_every)
        assert kept == [step * keep_every for step in range(len(kept))]


@pytest.mark.parametrize("keep_every", [1, 2, 4, 8])
def test_a_phase_moves_the_kept_frames_and_no_clip_vanishes(keep_every: int) -> None:
    for num_frames in range(1, 21):
        for phase in range(keep_every):
            kept = list(kept_indices(num_frames, keep_every, phase))
            assert kept[0] == min(phase, num_frames - 1)
            assert set(np.diff(kept)) <= {keep_every}
            assert num_frames - keep_every <= kept[-1] < num_frames


@pytest.mark.parametrize("keep_every", [1, 2, 4, 8])
def test_kept_frames_of_a_video_are_the_frames_of_their_indices(
    numbered_video: Path, number_of: NumberOf, keep_every: int
) -> None:
    for phase in range(keep_every):
        kept = read_kept_frames(clip_of(numbered_video), keep_every, phase)
        assert numbers(kept, number_of) == list(range(phase, 60, keep_every))
        assert kept.num_frames == 60
        assert kept.frames.dtype == np.uint8 and kept.frames.shape[1:] == (48, 64, 3)


@pytest.mark.parametrize("keep_every", [3, 7])
def test_kept_frames_equal_a_sequential_read_frame_by_frame(numbered_video: Path, keep_every: int) -> None:
    import decord

    reader = decord.VideoReader(str(numbered_video), num_threads=1)
    every = [reader.next().asnumpy() for _ in range(len(reader))]
    kept = read_kept_frames(clip_of(numbered_video), keep_every)
    assert np.array_equal(kept.frames, np.stack(every[::keep_every]))


def test_the_channels_are_red_green_blue(tmp_path: Path) -> None:
    import av

    red = np.zeros((48, 64, 3), np.uint8)
    red[..., 0] = 255
    with av.open(str(tmp_path / "red.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(red, format="rgb24")))
        container.mux(stream.encode())
    [frame] = read_kept_frames(clip_of(tmp_path / "red.mp4"), 1).frames
    assert np.all(frame.reshape(-1, 3).mean(axis=0) > [200, -1, -1])
    assert np.all(frame.reshape(-1, 3).mean(axis=0) < [256, 30, 30])


@pytest.mark.parametrize("number", [0, 5, 11])
def test_kept_frames_of_a_real_clip_are_nearest_to_the_frames_of_the_same_index(number: int) -> None:
    import av

    clips = sorted(REAL_CLIPS.glob("*.mp4"))
    if not clips:
        pytest.skip("the real clips are not there")
    kept = read_kept_frames(clip_of(clips[number]), 4)
    small = []
    with av.open(str(clips[number])) as container:
        for frame in container.decode(video=0):
            small.append(frame.to_ndarray(format="rgb24")[::6, ::6].astype(np.float32))
    every = np.stack(small)  # [T, h, w, 3], sub-sampled: the pixels of a moving signer suffice to tell frames apart
    assert kept.num_frames == len(every)
    for step, frame in enumerate(kept.frames[:, ::6, ::6].astype(np.float32)):
        distances = np.abs(every - frame).mean(axis=(1, 2, 3))
        assert distances[step * 4] == distances.min(), f"step {step} shows frame {distances.argmin()}"


def test_start_and_end_cut_the_video_in_seconds(numbered_video: Path, number_of: NumberOf) -> None:
    kept = read_kept_frames(clip_of(numbered_video, 0.48, 1.2), 4)
    assert numbers(kept, number_of) == [12, 16, 20, 24, 28]
    assert kept.num_frames == 18
    assert numbers(read_kept_frames(clip_of(numbered_video, 2.0), 1), number_of) == list(range(50, 60))
    assert numbers(read_kept_frames(clip_of(numbered_video, None, 0.2), 1), number_of) == list(range(5))


def test_an_end_beyond_the_video_ends_with_it(numbered_video: Path, number_of: NumberOf) -> None:
    kept = read_kept_frames(clip_of(numbered_video, 2.2, 1000.0), 1)
    assert numbers(kept, number_of) == [55, 56, 57, 58, 59]
    assert kept.num_frames == 5


@pytest.mark.parametrize("start", [2.4, 5.0])
def test_a_start_beyond_the_video_is_unreadable(numbered_video: Path, start: float) -> None:
    reason = refusal(clip_of(numbered_video, start, start + 1)).reason
    assert str(start) in reason
    assert "2.40 s" in reason


@pytest.mark.parametrize(
    "content", [b"this is no video\n" * 20, b"", b"\x00\x00\x00\x18ftypmp42"], ids=["text", "empty", "header alone"]
)
def test_a_file_that_is_no_video_is_unreadable_with_a_short_reason(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "fake.mp4").write_bytes(content)
    reason = refusal(clip_of(tmp_path / "fake.mp4")).reason
    assert 0 < len(reason) < 200
    assert "\n" not in reason


@pytest.fixture(scope="module", params=[False, True], ids=["index at the end", "index first"])
def sixty(request: pytest.FixtureRequest, numbered_video: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    import av

    if not request.param:
        return numbered_video
    whole = tmp_path_factory.mktemp("video") / "faststart.mp4"
    with (
        av.open(str(numbered_video)) as source,
        av.open(str(whole), "w", options={"movflags": "faststart"}) as container,
    ):
        stream = container.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                container.mux(packet)
    return whole


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_truncated_video_is_unreadable_and_not_shorter(sixty: Path, tmp_path: Path, share: float) -> None:
    assert len(read_kept_frames(clip_of(sixty), 1).frames) == 60
    data = sixty.read_bytes()
    (tmp_path / "half.mp4").write_bytes(data[: int(len(data) * share)])
    assert len(refusal(clip_of(tmp_path / "half.mp4")).reason) < 200


def test_wherever_a_video_is_cut_off_it_is_unreadable_or_loses_nothing(sixty: Path, tmp_path: Path) -> None:
    """Behind the frames and their index lie only names of programs."""
    data, whole = sixty.read_bytes(), read_kept_frames(clip_of(sixty), 1)
    clip = clip_of(tmp_path / "cut.mp4")
    unreadable = 0
    for cut in (*range(1, len(data), len(data) // 40), *range(len(data) - 40, len(data), 7)):
        clip.video.write_bytes(data[:cut])
        try:
            kept = read_kept_frames(clip, 1)
        except UnreadableVideo:
            unreadable += 1
            continue
        assert kept.num_frames == 60
        assert np.array_equal(kept.frames, whole.frames), f"cut off at {cut} of {len(data)}"
    assert unreadable >= 38


def test_a_missing_video_is_unreadable(tmp_path: Path) -> None:
    assert "no such file or folder" in refusal(clip_of(tmp_path / "none.mp4")).reason


def test_a_folder_is_read_in_natural_order(tmp_path: Path, numbered_frame: NumberedFrame, number_of: NumberOf) -> None:
    for number in (1, 2, 9, 10, 11, 100):
        Image.fromarray(numbered_frame(number)).save(tmp_path / f"images{number}.png")
    kept = read_kept_frames(clip_of(tmp_path), 1)
    assert numbers(kept, number_of) == [1, 2, 9, 10, 11, 100]
    assert numbers(read_kept_frames(clip_of(tmp_path), 4), number_of) == [1, 11]
    assert read_kept_frames(clip_of(tmp_path), 4).num_frames == 6


@pytest.mark.parametrize(
    "names", [["²1.png", "²2.png"], ["a.PNG", "b.jpeg"], ["1_2.png", "1_10.png"], ["1.png", "a.png"]]
)
def test_frames_may_have_any_names(tmp_path: Path, numbered_frame: NumberedFrame, names: list[str]) -> None:
    for name in names:
        Image.fromarray(numbered_frame(3)).save(tmp_path / name)
    assert len(read_kept_frames(clip_of(tmp_path), 1).frames) == 2


def test_a_stray_file_among_the_frames_is_ignored(tmp_path: Path, numbered_frame: NumberedFrame) -> None:
    for number in range(3):
        Image.fromarray(numbered_frame(number)).save(tmp_path / f"images{number:04d}.png")
    (tmp_path / "createDnnTrainingLabels-profile.py.lprof").write_text("stray")
    (tmp_path / "Thumbs.db").write_text("stray")
    assert read_kept_frames(clip_of(tmp_path), 1).num_frames == 3


@pytest.mark.parametrize("content", [b"", b"no picture", None], ids=["empty", "text", "truncated"])
def test_a_broken_frame_is_named(tmp_path: Path, content: bytes | None) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    for number in range(3):
        Image.fromarray(noise).save(tmp_path / f"images{number}.png")
    broken = tmp_path / "images1.png"
    broken.write_bytes(broken.read_bytes()[:2000] if content is None else content)
    assert "images1.png" in refusal(clip_of(tmp_path)).reason


def test_frames_of_different_size_are_scaled_to_that_of_the_first(tmp_path: Path) -> None:
    for width in (8, 9):
        Image.new("RGB", (width, 8)).save(tmp_path / f"images{width}.png")
    assert read_kept_frames(clip_of(tmp_path), 1).frames.shape == (2, 8, 8, 3)
    assert read_kept_frames(clip_of(tmp_path), 2, offset=1).frames.shape == (1, 8, 8, 3)


@pytest.mark.parametrize(("mode", "colour"), [("L", 200), ("LA", (200, 255)), ("RGBA", (200, 200, 200, 255)), ("P", 7)])
def test_grey_palette_and_alpha_frames_become_rgb(tmp_path: Path, mode: str, colour: int | tuple[int, ...]) -> None:
    image = Image.new(mode, (8, 6), colour)
    if mode == "P":
        image.putpalette([200] * 768)
    image.save(tmp_path / "images1.png")
    kept = read_kept_frames(clip_of(tmp_path), 1)
    assert np.array_equal(kept.frames, np.full((1, 6, 8, 3), 200, np.uint8))


def test_a_grey_frame_of_16_bits_keeps_its_shades(tmp_path: Path) -> None:
    shades = np.array([[0, 40, 200, 255]], np.uint16)
    Image.fromarray(shades * 257).save(tmp_path / "images1.png")
    assert read_kept_frames(clip_of(tmp_path), 1).frames[0, 0, :, 0].tolist() == [0, 40, 200, 255]


def test_a_folder_without_frames_is_unreadable(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    assert "no png or jpg" in refusal(clip_of(tmp_path)).reason


def test_a_folder_cannot_be_cut_in_seconds(tmp_path: Path, numbered_frame: NumberedFrame) -> None:
    Image.fromarray(numbered_frame(1)).save(tmp_path / "images1.png")
    assert "frame rate" in refusal(clip_of(tmp_path, 1.0, 2.0)).reason


# --- pieces


@pytest.mark.parametrize("frames", [1, 3, 7, 60])
@pytest.mark.parametrize("folder", [False, True])
def test_a_clip_comes_in_pieces_that_memory_can_hold(
    numbered_video: Path,
    numbered_frame: NumberedFrame,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    frames: int,
    folder: bool,
) -> None:
    for number in range(60 if folder else 0):
        Image.fromarray(numbered_frame(number)).save(tmp_path / f"images{number}.png")
    clip = clip_of(tmp_path if folder else numbered_video)
    whole = read_kept_frames(clip, 2, offset=1)
    monkeypatch.setattr(stream_module, "CHUNK_BYTES", frames * 48 * 64 * 3 + 100)
    pieces = list(open_frames(clip, 2, offset=1).chunks)
    assert np.array_equal(np.concatenate(pieces), whole.frames)
    assert max(map(len, pieces)) == min(frames, 30 if folder else 29)  # of a file, the first frame comes alone
    assert len(pieces) <= -(-30 // frames) + 1


def test_a_frame_larger_than_a_piece_comes_alone(numbered_video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_module, "CHUNK_BYTES", 1)
    assert [len(piece) for piece in open_frames(clip_of(numbered_video), 10).chunks] == [1] * 6


def test_the_rate_of_a_video_is_told_and_a_folder_has_none(
    numbered_video: Path, numbered_frame: NumberedFrame, tmp_path: Path
) -> None:
    Image.fromarray(numbered_frame(1)).save(tmp_path / "images1.png")
    video, cut, folder = (
        open_frames(clip, 4) for clip in (clip_of(numbered_video), clip_of(numbered_video, 1.0, 2.0), clip_of(tmp_path))
    )
    assert [(stream.num_frames, stream.fps) for stream in (video, cut, folder)] == [(60, 25.0), (25, 25.0), (1, 0.0)]


def test_frames_are_read_as_they_are_asked_for(
    numbered_frame: NumberedFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(6):
        Image.fromarray(numbered_frame(number)).save(tmp_path / f"images{number}.png")
    (tmp_path / "images5.png").write_bytes(b"broken")
    monkeypatch.setattr(stream_module, "CHUNK_BYTES", 2 * 48 * 64 * 3)
    pieces = open_frames(clip_of(tmp_path), 1).chunks
    assert [len(next(pieces)), len(next(pieces))] == [2, 2]
    with pytest.raises(UnreadableVideo, match=r"images5\.png"):
        next(pieces)


# --- transforms

GREY = np.arange(2 * 40 * 60 * 3, dtype=np.uint8).reshape(2, 40, 60, 3)


@pytest.mark.parametrize("fit", ["stretch", "crop"])
@pytest.mark.parametrize("shape", [(40, 60), (60, 40), (24, 24), (7, 100)])
def test_frames_of_any_shape_become_squares(fit: str, shape: tuple[int, int]) -> None:
    frames = np.full((3, *shape, 3), 90, np.uint8)
    images = square(frames, VideoConfig.model_validate({"resize": 36, "size": 32, "fit": fit}))
    assert (images.shape, images.dtype) == ((3, 3, 36, 36), torch.uint8)
    assert images.unique().tolist() == [90]


def test_stretching_keeps_the_borders_and_cropping_cuts_them_off() -> None:
    frames = np.zeros((1, 32, 64, 3), np.uint8)
    frames[:, :, :16] = 255  # the left quarter
    stretched = square(frames, VideoConfig(resize=32, size=32, fit="stretch"))
    cropped = square(frames, VideoConfig(resize=32, size=32, fit="crop"))
    assert stretched[..., :7].float().mean() > 250
    assert cropped.max() == 0


def test_a_blank_video_is_black_and_keeps_its_shape() -> None:
    images = square(GREY, VideoConfig(resize=36, size=32, blank=True))
    assert (images.shape, int(images.max())) == ((2, 3, 36, 36), 0)


def test_the_centre_crop_is_the_middle() -> None:
    images = torch.arange(36 * 36).reshape(1, 1, 36, 36).expand(2, 3, -1, -1)
    assert torch.equal(centre_crop(images, 32), images[..., 2:34, 2:34])
    assert torch.equal(centre_crop(images, 36), images)


COLOUR: dict[str, Any] = {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.2}
FULL = AugmentationConfig(crop=True, shift=0.2, flip=0.5, rotation=15.0, **COLOUR)
OFF = AugmentationConfig(phase=False, crop=False)


@pytest.fixture
def same_frames() -> torch.Tensor:
    """Five times the same noise picture, [5, 3, 36, 36]."""
    return torch.randint(0, 256, (1, 3, 36, 36), dtype=torch.uint8).expand(5, -1, -1, -1)


def test_augmentation_is_the_same_for_all_frames_of_a_clip(same_frames: torch.Tensor) -> None:
    for seed in range(20):
        images = augment(same_frames, 32, FULL, np.random.default_rng(seed))
        assert (images.shape, images.dtype) == ((5, 3, 32, 32), torch.uint8)
        assert torch.equal(images, images[:1].expand_as(images))


def test_augmentation_follows_from_the_generators_seed(same_frames: torch.Tensor) -> None:
    first, again, other = (augment(same_frames, 32, FULL, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_without_augmentation_it_is_the_centre_crop(same_frames: torch.Tensor) -> None:
    assert torch.equal(augment(same_frames, 32, OFF, np.random.default_rng(0)), centre_crop(same_frames, 32))


def test_a_random_crop_is_a_piece_of_the_frame_and_reaches_every_corner(same_frames: torch.Tensor) -> None:
    pieces = {
        same_frames[0, :, top : top + 32, left : left + 32].numpy().tobytes(): (top, left)
        for top in range(5)
        for left in range(5)
    }
    crop = AugmentationConfig(crop=True)
    seen = {
        pieces[augment(same_frames, 32, crop, np.random.default_rng(seed))[0].contiguous().numpy().tobytes()]
        for seed in range(300)
    }
    assert seen == set(pieces.values())


@pytest.mark.parametrize(("flip", "flipped"), [(0.0, 0), (1.0, 30), (0.5, None)])
def test_a_flip_is_as_likely_as_asked(same_frames: torch.Tensor, flip: float, flipped: int | None) -> None:
    asked = AugmentationConfig(crop=False, flip=flip)
    mirror = centre_crop(same_frames, 32).flip(-1)
    count = sum(torch.equal(augment(same_frames, 32, asked, np.random.default_rng(seed)), mirror) for seed in range(30))
    assert count == flipped if flipped is not None else 5 <= count <= 25


def test_a_shift_moves_columns_and_repeats_the_edge() -> None:
    images = torch.arange(32, dtype=torch.uint8).expand(1, 3, 32, 32)
    asked = AugmentationConfig(crop=False, shift=0.25)
    shifts = set()
    for seed in range(60):
        row = augment(images, 32, asked, np.random.default_rng(seed))[0, 0, 0].tolist()
        shift = row[16] - 16
        assert row == [min(max(column + shift, 0), 31) for column in range(32)]
        shifts.add(shift)
    assert min(shifts) < -4
    assert max(shifts) > 4
    assert max(map(abs, shifts)) <= 8


def test_brightness_is_one_factor_and_stays_in_range(same_frames: torch.Tensor) -> None:
    asked = AugmentationConfig(crop=False, brightness=0.5)
    middle = centre_crop(same_frames, 32).float()
    factors = []
    for seed in range(30):
        lit = augment(same_frames, 32, asked, np.random.default_rng(seed)).float()
        inner = (middle > 50) & (lit < 255)
        ratio = lit[inner] / middle[inner]
        assert ratio.max() - ratio.min() < 0.03
        factors.append(float(ratio.mean()))
    assert 0.45 < min(factors) < 0.8
    assert 1.2 < max(factors) < 1.55


def drawn(seed: int, **settings: Any) -> Augmentation:
    return draw_augmentation(4, 32, AugmentationConfig(shift=0.2, flip=0.5, **settings), np.random.default_rng(seed))


@pytest.mark.parametrize("seed", range(5))
def test_what_is_switched_on_leaves_what_the_others_draw(seed: int) -> None:
    every = drawn(seed, rotation=15.0, **COLOUR)
    off = Augmentation(every.top, every.left, every.shift, every.flip, 1.0, 0.0, 1.0, 1.0, 0.0)
    assert drawn(seed) == off
    assert drawn(seed, brightness=0.4) == replace(off, light=every.light)
    assert drawn(seed, rotation=15.0) == replace(off, rotation=every.rotation)
    for name in ("contrast", "saturation", "hue"):
        assert drawn(seed, **{name: COLOUR[name]}) == replace(off, **{name: getattr(every, name)})


def test_a_seed_draws_what_it_drew_before_there_was_rotation() -> None:
    """Else measured scores would move."""
    found = drawn(7, rotation=15.0, **COLOUR)
    assert (found.top, found.left, found.shift, found.flip, round(found.light, 6)) == (4, 3, 5, False, 0.780166)


def test_each_frame_is_augmented_for_itself() -> None:
    images = torch.randint(0, 256, (19, 3, 36, 36), dtype=torch.uint8)
    every = drawn(1, rotation=15.0, **COLOUR)
    for frames in (1, 3, 19):
        pieces = [every.apply(piece, 32) for piece in images.split(frames)]
        assert torch.equal(torch.cat(pieces), torch.cat([every.apply(image[None], 32) for image in images]))


def test_contrast_does_not_depend_on_the_number_of_threads() -> None:
    """A loader's worker has one thread; torchvision's own sum over a large frame does depend on it."""
    images = torch.randint(0, 256, (1, 3, 512, 512), dtype=torch.uint8)
    threads, found = torch.get_num_threads(), []
    try:
        for number in (1, 4):
            torch.set_num_threads(number)
            found.append([adjust_contrast(images, 0.5 + 0.01 * step) for step in range(20)])
    finally:
        torch.set_num_threads(threads)
    assert all(map(torch.equal, *found))


@pytest.mark.parametrize("factor", [0.3, 1.0, 1.7])
def test_contrast_is_torchvisions(factor: float) -> None:
    images = torch.randint(0, 256, (3, 3, 40, 40), dtype=torch.uint8)
    assert torch.equal(adjust_contrast(images, factor), F.adjust_contrast(images, factor))


@pytest.mark.parametrize("degrees", [-45.0, -3.0, 0.5, 20.0, 45.0])
@pytest.mark.parametrize("size", [7, 36])
def test_a_rotation_leaves_no_black_corners(degrees: float, size: int) -> None:
    images = torch.full((2, 3, size, size), 200, dtype=torch.uint8)
    assert torch.equal(rotate(images, degrees), images)


def test_a_rotation_turns_counter_clockwise_about_the_middle() -> None:
    images = torch.zeros(1, 3, 41, 41, dtype=torch.uint8)
    images[..., 19:22, 34:37] = 255  # 15 to the right of the middle
    [_, rows, columns] = torch.nonzero(rotate(images, 30.0)[0] > 128).float().mean(0).tolist()
    assert (rows, columns) == pytest.approx((20 - 15 * 0.5, 20 + 15 * 0.866), abs=0.3)


def test_rotations_are_as_wide_as_asked_and_to_both_sides() -> None:
    angles = [drawn(seed, rotation=10.0).rotation for seed in range(60)]
    assert -10.0 <= min(angles) < -8.0
    assert 8.0 < max(angles) <= 10.0


@pytest.mark.parametrize(("name", "kept"), [("contrast", "mean"), ("saturation", "grey"), ("hue", "value")])
def test_a_colour_changes_what_it_is_named_after(name: str, kept: str) -> None:
    images = torch.randint(90, 165, (2, 3, 32, 32), dtype=torch.uint8)
    asked = OFF.model_copy(update={name: 0.3})
    properties: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
        "mean": lambda images: F.rgb_to_grayscale(images).float().mean((1, 2, 3)),
        "grey": lambda images: F.rgb_to_grayscale(images).float(),
        "value": lambda images: images.amax(1).float(),
    }
    for seed in range(5):
        changed = augment(images, 32, asked, np.random.default_rng(seed))
        assert (changed.float() - images.float()).abs().max() > 2
        of = properties[kept]
        assert (of(changed) - of(images)).abs().max() <= 2  # what is computed in float is rounded down


def test_grey_frames_have_no_colour_to_change() -> None:
    images = torch.randint(0, 256, (2, 1, 32, 32), dtype=torch.uint8).expand(-1, 3, -1, -1)
    for seed in range(5):
        turned = augment(images, 32, OFF.model_copy(update={"hue": 0.5}), np.random.default_rng(seed))
        assert (turned.float() - images.float()).abs().max() <= 1


def test_an_unreadable_clip_survives_pickling(numbered_video: Path) -> None:
    import pickle

    error = refusal(replace(clip_of(numbered_video), start=9.0))
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), copy.clip_id, copy.reason) == (
        UnreadableVideo,
        str(error),
        error.clip_id,
        error.reason,
    )
