"""Parallel coordinates: where a value is on its axis, and what is escaped."""

import math
import re

import pytest

from slt_cache.report.parallel import HEIGHT, Axis, Line, draw_parallel


def test_numbers_are_placed_evenly_or_by_orders_of_magnitude_and_words_apart() -> None:
    assert Axis("a", 2.0, 4.0).height(3.0) == 0.5
    assert math.isclose(Axis("a", 1e-4, 1.0, logarithmic=True).height(1e-2), 0.5)
    assert [Axis("a", words=("x", "y")).height(word) for word in ("x", "y")] == [0.25, 0.75]
    assert Axis("a", 3.0, 3.0).height(3.0) == 0.5


def test_every_trial_is_a_line_through_all_axes_and_names_are_escaped() -> None:
    axes = (Axis("<lr>", 0.0, 1.0), Axis("size", words=("8", "16")), Axis("dev", 0.0, 10.0))
    lines = (Line("trial 0 <b>", (0.0, "8", 10.0), 0.1), Line("trial 1", (1.0, "16", 0.0), 1.0, marked=True))
    drawn = str(draw_parallel(axes, lines, "a & b"))
    points = [
        [tuple(map(float, point.split(","))) for point in one.split()] for one in re.findall('points="(.*?)"', drawn)
    ]
    assert [len(one) for one in points] == [3, 3]
    assert all(0 <= y <= HEIGHT for one in points for _, y in one)
    assert points[0][0][1] > points[1][0][1] and points[0][2][1] < points[1][2][1]  # y grows downwards
    assert "&lt;lr&gt;" in drawn and "&lt;b&gt;" in drawn and "a &amp; b" in drawn and "<lr>" not in drawn


def test_without_trials_nothing_is_drawn() -> None:
    assert draw_parallel((Axis("a"),), (), "a") == ""


def test_an_unknown_word_is_no_place_on_an_axis() -> None:
    with pytest.raises(ValueError, match="not in tuple"):
        Axis("a", words=("x",)).height("y")
