"""The work on one split: which parts are to be made, and in which order."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from slt_cache.features.layout import Failure
from slt_cache.features.parts import Parts
from slt_cache.pipeline.split_work import SplitWork
from tests.helpers.caches import facts_of
from tests.helpers.split_works import make_part, split_work


@pytest.fixture
def work(tmp_path: Path, make_video: Callable[..., Path]) -> SplitWork:
    return split_work(tmp_path, make_video)


def test_a_team_begins_with_the_longest_videos_and_a_process_alone_with_the_first(work: SplitWork) -> None:
    assert work.to_do(longest_first=False) == [0, 1, 2]
    assert work.to_do(longest_first=True) == [1, 2, 0]


def test_a_part_that_is_there_is_not_made_again_until_its_video_changes(
    work: SplitWork, make_video: Callable[..., Path]
) -> None:
    for number in (0, 1):
        make_part(work, number)
    assert work.to_do(longest_first=False) == [2]
    make_video(work.chunks[1][0].video, 50)
    again = replace(work)  # as the next command sees the videos
    assert again.to_do(longest_first=False) == [1, 2]
    assert len(again.parts.aside) == 1 and not again.parts.path(1).exists()


def test_a_part_that_lacks_a_clip_is_made_again_once_the_clip_can_be_read(
    work: SplitWork, make_video: Callable[..., Path]
) -> None:
    video = work.chunks[2][0].video
    video.write_bytes(b"")
    work.parts.write(2, [], [Failure("2", "it is an empty file")])
    assert replace(work).to_do(longest_first=False) == [0, 1]
    make_video(video, 60)
    assert replace(work).to_do(longest_first=False) == [0, 1, 2]


def test_a_changed_manifest_says_how_many_clips_keep_their_features(
    work: SplitWork, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in (0, 1):
        make_part(work, number)
    [first], [second], [third] = work.chunks
    other = Parts(work.cache, facts_of(manifest="n" * 64))
    swapped = replace(work, parts=other, chunks=[[second, third], [first]])
    assert swapped.to_do(longest_first=False) == [0, 1]
    assert "train: 2 clips keep their features, 1 are read (1 new, 0 changed)" in capsys.readouterr().err
