"""Normalized landmarks: the numbers, what is marked as missing, and which MediaPipe made them."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from slt_cache.config import AugmentationConfig, EncoderConfig, FeaturesConfig, VideoConfig
from slt_cache.corpora.base import Clip
from slt_cache.encoders.base import UnreachableWeights
from slt_cache.encoders.pose import BODY, CHANNELS, FACE, HAND, normalized
from slt_cache.encoders.registry import open_encoder
from slt_cache.errors import InputError
from slt_cache.holistic.child import installed
from slt_cache.video.chunks import plain
from slt_cache.video.landmarks import LandmarkReader
from slt_cache.video.reader_pool import read_ahead
from tests.helpers.fake_mediapipe import write_fake_mediapipe

POSE = EncoderConfig(name="pose:mediapipe")
PYTHON = os.environ.get("SLT_CACHE_MEDIAPIPE_PYTHON")
"""Interpreter that has the real MediaPipe."""
HOW2SIGN = Path(__file__).parents[3] / "shared" / "real" / "how2sign" / "clips"


def landmarks(frames: int) -> np.ndarray:
    """Everything found, the shoulders 0.2 widths apart and above the middle of the frame."""
    found = np.random.default_rng(0).uniform(-0.5, 0.5, (frames, 543, 4)).astype(np.float32)
    found[:, 11] = (0.1, -0.1, 0.3, 0.9)
    found[:, 12] = (-0.1, -0.1, 0.1, 0.9)
    return found


def channels(features: np.ndarray, point: str) -> np.ndarray:
    first = CHANNELS.index(f"{point}.x")
    assert CHANNELS[first : first + 4] == tuple(f"{point}.{name}" for name in ("x", "y", "z", "visibility"))
    return features[:, first : first + 4]


def test_channels_are_four_of_each_point_and_named() -> None:
    assert len(CHANNELS) == len(set(CHANNELS)) == 4 * (33 + 2 * 21 + 39) == 456
    assert (len(BODY), len(HAND), len(set(FACE))) == (33, 21, 39)
    assert (BODY[0], BODY[11], BODY[16], BODY[32]) == ("nose", "left_shoulder", "right_wrist", "right_foot_index")
    assert (HAND[0], HAND[4], HAND[8], HAND[20]) == ("wrist", "thumb_tip", "index_tip", "pinky_tip")


def test_the_middle_of_the_shoulders_is_the_origin_and_their_distance_the_unit() -> None:
    found = landmarks(2)
    found[1, 11], found[1, 12] = (0.3, 0.2, 0.0, 1.0), (0.0, -0.2, 0.0, 1.0)  # 0.5 apart
    features = normalized(found)
    assert features.dtype == np.float32
    np.testing.assert_allclose(channels(features, "body.left_shoulder")[0], [0.5, 0.0, 0.5, 0.9], atol=1e-6)
    np.testing.assert_allclose(channels(features, "body.left_shoulder")[1], [0.3, 0.4, 0.0, 1.0], atol=1e-6)
    x, y, z, _ = found[0, 33 + 21 + 8]
    expected = [x / 0.2, (y + 0.1) / 0.2, z / 0.2, 1.0]
    np.testing.assert_allclose(channels(features, "right_hand.index_tip")[0], expected, rtol=1e-5)
    x, y, z, _ = found[0, 75 + 152]
    expected = [x / 0.2, (y + 0.1) / 0.2, z / 0.2, 1.0]
    np.testing.assert_allclose(channels(features, "face.152")[0], expected, rtol=1e-5)


def test_a_hand_that_was_not_found_is_zero_and_nothing_else_changes() -> None:
    found = landmarks(3)
    whole = normalized(found)
    found[1, 33 : 33 + 21] = np.nan
    features = normalized(found)
    hand = [name.startswith("left_hand.") for name in CHANNELS]
    assert not features[1, hand].any()
    features[1, hand] = whole[1, hand]
    np.testing.assert_array_equal(features, whole)


@pytest.mark.parametrize("missing", [np.nan, 0.0, "hidden"])
def test_missing_shoulders_are_the_median_of_the_other_frames(missing: float | str) -> None:
    found = landmarks(4)
    found[3, 11:13, :2] *= 3.0  # not the median
    expected = normalized(found)[2]
    if missing == "hidden":
        found[2, 12, 3] = 0.4
    else:
        found[2, 11:13, :3] = missing
    features = normalized(found)[2]
    shoulders = [name.startswith(("body.left_shoulder", "body.right_shoulder")) for name in CHANNELS]
    np.testing.assert_array_equal(features[np.invert(shoulders)], expected[np.invert(shoulders)])


def test_a_clip_without_shoulders_is_measured_in_quarters_of_the_frame_and_one_without_people_is_zero() -> None:
    found = landmarks(2)
    found[:, :33] = np.nan
    features = normalized(found)
    x, y, z, _ = found[0, 33]
    np.testing.assert_allclose(channels(features, "left_hand.wrist")[0], [4 * x, 4 * y, 4 * z, 1.0], rtol=1e-6)
    assert not normalized(np.full((2, 543, 4), np.nan, np.float32)).any()


def test_mediapipe_of_another_version_or_with_other_models_makes_other_features(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    specs = []
    for name, version, model in (("a", "0.10.21", b"a"), ("b", "0.10.22", b"a"), ("c", "0.10.21", b"c")):
        packages = write_fake_mediapipe(tmp_path / name, version)
        (packages / "mediapipe" / "modules" / "pose.tflite").write_bytes(model)
        monkeypatch.setenv("PYTHONPATH", str(packages))
        installed.cache_clear()
        video = VideoConfig(fit="crop", resize=64, size=32)
        specs.append(open_encoder(POSE, video).spec(FeaturesConfig(), AugmentationConfig()))
    installed.cache_clear()
    assert (specs[0].encoder, specs[0].dim, specs[0].level, specs[0].keep_rate) == (
        "pose:mediapipe",
        456,
        "frame",
        0.25,
    )
    assert (specs[0].resize, specs[0].fit, specs[0].mean) == (None, None, None)
    assert specs[1].differences(specs[0])[0].startswith("options: file {'mediapipe': '0.10.22'}")
    assert specs[2].differences(specs[0])[0].startswith("encoder_sha256")


def test_where_there_is_no_mediapipe_the_error_says_what_to_install_and_to_set(tmp_path: Path) -> None:
    config = EncoderConfig(name="pose:mediapipe", python=str(tmp_path / "python"))
    with pytest.raises(UnreachableWeights) as error:
        open_encoder(config, VideoConfig())
    message = str(error.value)
    assert message.startswith(f"encoder.name pose:mediapipe: encoder.python {tmp_path / 'python'} cannot run MediaPipe")
    assert "pip install mediapipe==0.10.21" in message
    assert "encoder.python=" in message


def test_other_poses_and_augmented_views_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"pose:openpose: unknown\. Use pose:mediapipe"):
        open_encoder(EncoderConfig(name="pose:openpose"), VideoConfig())
    monkeypatch.setenv("PYTHONPATH", str(write_fake_mediapipe(tmp_path)))
    installed.cache_clear()
    with pytest.raises(InputError, match=r"features\.views 2: encoder pose:mediapipe makes no augmented views"):
        open_encoder(POSE, VideoConfig()).spec(FeaturesConfig(views=2), AugmentationConfig())
    installed.cache_clear()


@pytest.mark.skipif(PYTHON is None, reason="SLT_CACHE_MEDIAPIPE_PYTHON names no interpreter that has MediaPipe")
@pytest.mark.skipif(not HOW2SIGN.is_dir(), reason=f"{HOW2SIGN} does not exist")
def test_the_real_mediapipe_finds_signers_and_gives_the_same_bytes_again() -> None:
    reader = LandmarkReader(VideoConfig(keep_rate=0.125), python=PYTHON)
    clips = [Clip(path.stem, "train", path, None, None, "") for path in sorted(HOW2SIGN.glob("*.mp4"))[:3]]
    once = [event for event in read_ahead(plain(clips), reader, 0) if isinstance(event, torch.Tensor)]
    again = [event for event in read_ahead(plain(clips[::-1]), reader, 0) if isinstance(event, torch.Tensor)][::-1]
    for first, second in zip(once, again, strict=True):
        features = normalized(first.numpy())
        np.testing.assert_array_equal(features, normalized(second.numpy()))
        assert (channels(features, "body.nose")[:, 3] > 0.5).all()
        assert (channels(features, "body.nose")[:, 1] < 0).all()  # above the shoulders
        assert channels(features, "face.1")[:, 3].mean() > 0.5
