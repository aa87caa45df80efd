"""What the report page is put together from: compared sentences, strips of frames, maps of weights, drawings."""

import base64
import io
import re
import time

import numpy as np
import pytest
from PIL import Image

from slt_cache.report.lines import Chart, Series, draw_lines
from slt_cache.report.sentence_diff import Segment, compare, tokenize
from slt_cache.report.strips import MOST_FRAMES, SIZES, draw_filmstrip, draw_weights, full_weight
from slt_cache.report.template import render_part

HEIGHT = 30
"""Of the frames drawn here: none is larger than it was."""


def opened(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


def test_sentences_are_compared_by_words() -> None:
    assert compare("es regnet im norden", "heute regnet es im norden") == [
        Segment("heute regnet", "extra", " "),
        Segment("es", "same", " "),
        Segment("regnet", "missing", " "),
        Segment("im norden", "same", " "),
    ]


def test_chinese_sentences_are_compared_by_characters() -> None:
    assert compare("北部下雨", "北部下雪") == [
        Segment("北部下", "same", ""),
        Segment("雨", "missing", ""),
        Segment("雪", "extra", ""),
    ]


def test_sentences_of_very_many_words_are_compared_in_little_time() -> None:
    one, other = (" ".join(f"w{n}" for n in np.random.default_rng(seed).integers(2, size=20_000)) for seed in (0, 1))
    begun = time.process_time()
    pieces = compare(one, other)
    assert time.process_time() - begun < 5  # about 50 s if every pair of equal words is looked at
    assert " ".join(piece.text for piece in pieces if piece.kind != "missing") == other
    assert " ".join(piece.text for piece in pieces if piece.kind != "extra") == one
    assert [piece.kind for piece in compare(one, one)] == ["same"]


def test_a_single_word_of_letters_is_a_word() -> None:
    assert compare("ja", "jein") == [Segment("ja", "missing", " "), Segment("jein", "extra", " ")]
    assert tokenize("北 部", "北部") == ["北", "部"]


@pytest.mark.parametrize(("kept", "shown"), [(1, [0]), (5, [0, 1, 2, 3, 4]), (10, list(range(10)))])
def test_a_strip_has_the_kept_frames_in_order(kept: int, shown: list[int]) -> None:
    frames = np.stack([np.full((30, 20, 3), 10 * number, np.uint8) for number in range(kept)])
    strip = draw_filmstrip(frames, 10**6)
    picture = np.asarray(opened(strip.image))
    assert (strip.shown, strip.kept) == (len(shown), kept)
    assert picture.shape[0] == HEIGHT
    width = picture.shape[1] // len(shown)
    middles = picture[HEIGHT // 2, width // 2 :: width].mean(1)
    np.testing.assert_allclose(middles, [10 * number for number in shown], atol=4)


def test_each_frame_of_a_long_clips_strip_stands_for_the_part_that_it_lies_over() -> None:
    frames = np.stack([np.full((8, 8, 3), 5 * number, np.uint8) for number in range(40)])
    strip = draw_filmstrip(frames, 10**6)
    picture = np.asarray(opened(strip.image))
    assert (strip.shown, strip.kept) == (MOST_FRAMES, 40)
    middles = picture[4, 4::8].mean(1)
    expected = [5 * int((place + 0.5) * 40 / MOST_FRAMES) for place in range(MOST_FRAMES)]
    np.testing.assert_allclose(middles, expected, atol=8)


def test_a_frame_is_drawn_no_larger_than_it_was_and_no_larger_than_is_of_use() -> None:
    small, large = (np.zeros((1, size, size, 3), np.uint8) for size in (32, 512))
    assert opened(draw_filmstrip(small, 10**6).image).size == (32, 32)
    assert opened(draw_filmstrip(large, 10**6).image).size == (SIZES[0][0], SIZES[0][0])


def test_a_strip_is_made_smaller_until_it_fits() -> None:
    frames = np.random.default_rng(0).integers(0, 255, (16, 224, 224, 3), np.uint8)
    whole = draw_filmstrip(frames, 10**6)
    fitted = draw_filmstrip(frames, len(whole.image) - 1)
    assert len(fitted.image) < len(whole.image)
    assert opened(fitted.image).height == SIZES[1][0]
    assert opened(draw_filmstrip(frames, 10).image).height == SIZES[-1][0]


def test_the_full_colour_of_a_map_is_the_largest_weight_unless_that_is_near_even() -> None:
    assert full_weight(np.array([[0.1, 0.9], [0.5, 0.5]], np.float32)) == 1.0
    assert full_weight(np.array([[0.6] + [0.04] * 10], np.float32)) == pytest.approx(0.6)
    assert full_weight(np.full((2, 100), 0.01, np.float32)) == pytest.approx(0.04)


def test_a_map_is_as_dark_as_its_weights() -> None:
    weights = np.array([[0.0, 0.5, 0.25, 0.0], [1.0, 0.0, 0.0, 0.0]], np.float32)
    opacity = np.asarray(opened(draw_weights(weights)).convert("RGBA"))[..., 3]
    np.testing.assert_allclose(opacity / 255, weights, atol=0.04)


def test_even_attention_is_pale() -> None:
    opacity = np.asarray(opened(draw_weights(np.full((2, 10), 0.1, np.float32))).convert("RGBA"))[..., 3]
    assert (opacity > 0).all() and (opacity < 255 / 3).all()


def test_a_map_of_no_weight_at_all_is_drawn() -> None:
    assert np.asarray(opened(draw_weights(np.zeros((1, 2), np.float32))).convert("RGBA"))[..., 3].tolist() == [[0, 0]]


def test_several_series_have_a_legend_of_their_own_colours() -> None:
    chart = Chart(
        "k", "t", "x", "y", (Series("one <b>", ((0, 1), (1, 2))), Series("none", ()), Series("two", ((0, 3),)))
    )
    drawing = str(draw_lines(chart))
    legend = drawing[drawing.index("<ul") :]
    assert re.findall(r"</svg>([^<]*)</li>", legend) == ["one &lt;b&gt;", "two"]
    for colour in ("var(--series-1)", "var(--series-3)"):
        assert colour in legend and colour in drawing[: drawing.index("<ul")]
    assert "var(--series-2)" not in drawing


def test_one_series_needs_no_legend_and_none_needs_no_drawing() -> None:
    assert "<ul" not in draw_lines(Chart("k", "t", "x", "y", (Series("one", ((0, 1), (1, 2))),)))
    assert draw_lines(Chart("k", "t", "x", "y", (Series("one", ()),))) == ""
    assert draw_lines(Chart("k", "t", "x", "y", (Series("one", ((0, float("nan")),)),))) == ""


def test_a_logarithmic_axis_leaves_out_what_it_cannot_show() -> None:
    series = Series("one", ((0, 0.0), (1, 0.01), (2, float("inf")), (3, 0.4)))
    drawing = draw_lines(Chart("k", "t", "x", "y", (series,), logarithmic=True))
    assert ">0.01<" in drawing and ">0.1<" in drawing


def test_a_series_keeps_the_colour_that_it_is_given_and_ink_is_no_models_colour() -> None:
    series = (Series("llm", ((0, 1), (1, 2)), colour=3), Series("module", ((0, 3), (1, 3)), inked=True))
    drawing = str(draw_lines(Chart("k", "t", "x", "y", series)))
    assert re.findall(r"var\(--series-(\d)\)", drawing) == ["4"] * 2  # the line, and its legend
    assert drawing.count('stroke="currentColor"') == 1


def test_the_highest_of_equal_values_is_not_marked() -> None:
    flat, steep = (
        Chart("k", "t", "x", "y", (Series("one", points),), points=True, marked="highest")
        for points in (((0, 0.0), (1, 0.0)), ((0, 0.0), (1, 7.5)))
    )
    assert ">7.5<" in draw_lines(steep)
    assert "bold" not in draw_lines(flat)


def test_a_title_is_escaped() -> None:
    assert "<script>" not in draw_lines(Chart("k", "<script>", "x<y", "y", (Series("one", ((0, 1),)),)))


def test_a_part_of_a_page_escapes_its_texts() -> None:
    part = render_part(
        "clips.html.jinja",
        "picture",
        clip='"><b>',
        strip=None,
        words=("<i>",),
        weights="data:,",
        columns=1,
        attention="cross-attention",
    )
    assert "&lt;i&gt;" in part and "<b>" not in part and "<i>" not in part
