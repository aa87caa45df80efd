"""The one place at which what goes wrong with a video becomes the error of its clip."""

from pathlib import Path

import pytest

from slt_cache.corpora.base import Clip
from slt_cache.video.stream import FREE_MEMORY, GET_WHOLE, REPAIR, UnreadableVideo, VideoError, only_unreadable

CLIP = Clip("clip/1", "train", Path("a.mp4"), None, None, "")
RAISED = {
    "a reason": (VideoError("it is cut off", GET_WHOLE), "it is cut off", GET_WHOLE),
    "no memory": (MemoryError(), "there is not enough memory to read it", FREE_MEMORY),
    "a system error": (OSError(5, "Input/output error"), "it cannot be read (Input/output error)", REPAIR),
    "whatever a decoder raises": (ValueError("bad\n header"), "it cannot be read (ValueError: bad header)", REPAIR),
}


@pytest.mark.parametrize("kind", RAISED)
def test_what_is_raised_below_gets_the_clip_at_the_boundary(kind: str) -> None:
    error, reason, advice = RAISED[kind]
    with pytest.raises(UnreadableVideo) as found, only_unreadable(CLIP):
        raise error
    assert (found.value.clip_id, found.value.reason, found.value.advice) == (CLIP.id, reason, advice)
    assert str(found.value) == f"clip 'clip/1' (a.mp4): {reason}. {advice}"


def test_a_clip_that_is_named_keeps_its_name() -> None:
    with pytest.raises(UnreadableVideo, match="'other'"), only_unreadable(CLIP):
        raise UnreadableVideo("other", Path("b.mp4"), "no frames")


def test_our_own_mistakes_are_no_unreadable_video() -> None:
    with pytest.raises(AssertionError), only_unreadable(CLIP):
        raise AssertionError
