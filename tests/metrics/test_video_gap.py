"""The video gap in numbers and words."""

import pytest

from slt_cache.metrics.video_gap import (
    FEWEST_CLIPS,
    GAP,
    HIGH,
    LOW,
    NEAR,
    SWAPPED,
    SentenceLosses,
    blindness,
    gap_of,
    gap_text,
    sees_video,
    too_few_clips,
)


def losses_of(rises: list[float], tokens: int = 4) -> list[SentenceLosses]:
    """Sentences whose loss rises by these nats per token with another clip's video, and by twice as much with none."""
    return [
        SentenceLosses(str(number), tokens, 1.0, 1.0 + 2 * tokens * rise, 1.0 + tokens * rise)
        for number, rise in enumerate(rises)
    ]


def test_the_gap_is_per_token_and_long_sentences_count_more() -> None:
    gap = gap_of([SentenceLosses("a", 1, 2.0, 3.0, 2.5), SentenceLosses("b", 3, 4.0, 9.0, 3.5)])
    assert gap == {GAP: (1.0 + 5.0) / 4, SWAPPED: 0.0}  # too few for an interval


def test_the_interval_contains_the_gap_and_narrows_with_more_clips() -> None:
    few, many = (gap_of(losses_of([0.0, 0.4] * count)) for count in (FEWEST_CLIPS, 10 * FEWEST_CLIPS))
    for gap in (few, many):
        assert gap[LOW] < gap[SWAPPED] == 0.2 < gap[HIGH] and gap[GAP] == 0.4
    assert many[HIGH] - many[LOW] < (few[HIGH] - few[LOW]) / 2


@pytest.mark.parametrize(
    ("rises", "sees"),
    [
        ([0.5, 0.7] * 20, True),
        ([NEAR / 2] * 40, False),  # surely more than nothing, and next to nothing
        ([-1.0, 1.2] * 20, False),  # may be chance
        ([-0.5] * 40, False),
        ([0.0] * 40, False),
        ([0.0], None),
    ],
)
def test_a_model_sees_if_another_clips_video_costs_it_more_than_chance(rises: list[float], sees: bool | None) -> None:
    gap = gap_of(losses_of(rises))
    assert sees_video(gap) is sees
    assert bool(blindness(gap, {})) is (sees is False)
    assert bool(too_few_clips(gap)) is (sees is None)


def test_runs_without_a_measured_gap_say_nothing() -> None:
    assert sees_video({}) is None and blindness({}, {}) == gap_text({}) == too_few_clips({}) == ""


def test_blindness_says_how_large_the_gaps_are_and_what_to_try() -> None:
    gap = gap_of(losses_of([0.01] * 40))
    said = blindness(gap, {})
    assert "0.010 nats per token" in said and "(95 % interval 0.010 to 0.010), with a blank one 0.020" in said
    assert "visual_training.epochs" in said and "encoder.init_from" in said
    assert "objective=contrastive" in said and "curriculum=short-first" in said
    said = blindness(gap, {"visual_training": {"objective": ["cross-entropy", "cico"], "curriculum": "short-first"}})
    assert "Try more epochs (visual_training.epochs), or an encoder that has seen more" in said
    assert blindness(gap, {"video": {"blank": True}}).endswith("(video.blank), so there is nothing to see")
    said = blindness(gap, {}, of_llm=True)
    assert "llm_training.epochs" in said and "train-visual" in said
