"""The box of a signer: what it holds, who the signer is among several persons, and where there is none."""

from pathlib import Path

import numpy as np
import pytest

from slt_cache.corpora.base import Clip
from slt_cache.video.signer import signer_box, signer_boxes
from slt_cache.video.stream import UnreadableVideo
from tests.helpers.fake_mediapipe import FINE, NO_BODY, RAISE, write_fake_mediapipe, write_frames


def person(x: float, y: float, width: float, aspect: float = 1.0) -> np.ndarray:
    """Landmarks of one frame in which all points but the shoulders are at the middle of the shoulders, which are this
    width of the frame apart; hands and face are not found."""
    found = np.full((543, 4), np.nan, np.float32)
    found[:33] = (x, y, 0, 0.9)
    found[11, 0], found[12, 0] = x + width / 2, x - width / 2
    return found


def test_the_box_has_the_space_for_signs_around_the_shoulders() -> None:
    frames = np.stack([person(0.5, 0.4, 0.1)] * 3)
    assert signer_box(frames, 1.0) == pytest.approx((0.325, 0.25, 0.675, 0.6))
    assert signer_box(frames, 2.0) == pytest.approx((0.325, 0.1, 0.675, 0.8))  # heights are half as many pixels


def test_it_holds_all_that_was_seen_in_any_frame_and_ends_at_the_edge() -> None:
    frames = np.stack([person(0.5, 0.4, 0.1), person(0.55, 0.4, 0.1)])
    frames[0, 33:54] = (0.9, 0.1, 0, 0)  # the left hand
    frames[0, 15] = (0.99, 0.99, 0, 0.2)  # a wrist that is not visible
    frames[0, 27] = (0.5, 0.95, 0, 0.9)  # an ankle
    assert signer_box(frames, 1.0) == pytest.approx((0.325, 0.1, 0.9, 0.6))
    assert signer_box(person(0.9, 0.9, 0.3)[None], 1.0) == pytest.approx((0.375, 0.45, 1, 1))


def test_the_person_in_most_frames_is_the_signer() -> None:
    signer, other = person(0.3, 0.4, 0.1), person(0.8, 0.4, 0.1)
    alone = signer_box(np.stack([signer] * 3), 1.0)
    assert signer_box(np.stack([signer, other, signer, signer, other]), 1.0) == alone
    turned = signer.copy()
    turned[11, 3] = 0.1
    assert signer_box(np.stack([turned, signer, signer]), 1.0) == alone
    assert signer_box(np.stack([turned, np.full_like(signer, np.nan)]), 1.0) is None


@pytest.mark.parametrize("workers", [0, 2])
def test_each_clip_has_its_box_none_or_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(write_fake_mediapipe(tmp_path / "packages")))
    orders = [[FINE] * 3, [NO_BODY] * 3, [RAISE], [NO_BODY, *[FINE] * 40]]
    folders = [write_frames(tmp_path / f"clip{number}", one) for number, one in enumerate(orders)]
    clips = [Clip(path.name, "train", path, None, None, "") for path in folders]
    first, nobody, failed, long = signer_boxes(clips, None, workers)
    # Shoulders at 0.4 and 0.6 and height 0.4, in frames twice as wide as high; points from 0.1 to 0.9.
    assert first == pytest.approx((0.1, 0.0, 0.9, 1.0), abs=0.06)
    assert nobody is None
    assert isinstance(failed, UnreadableVideo) and "the graph failed" in failed.reason
    assert long == pytest.approx(first, abs=0.01)
