"""The report after `eval --grounding`: scores without the video, shaded words, and clips sorted by reliability."""

import re
from pathlib import Path

import pytest

from slt_cache.grounding.files import write_grounding
from slt_cache.grounding.measure import GroundedClip
from slt_cache.metrics.grounding import make_evidence
from slt_cache.report.shades import shade_of
from slt_cache.runs.run import Run
from tests.helpers.report_runs import SENTENCES, make_run, page_of, rows_of


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return make_run(tmp_path / "run")


def grounded(drop: float, sentences: list[tuple[str, str, str]]) -> list[GroundedClip]:
    """Every second word drops by this much, the others by nothing."""
    clips = []
    for clip_id, reference, hypothesis in sentences:
        words = hypothesis.split()
        spans = [(word, slice(place, place + 1)) for place, word in enumerate(words)]
        seen = [-0.1] * (len(words) + 1)
        blind = [-0.1 - drop * (place % 2) for place in range(len(words) + 1)]
        evidence = make_evidence(spans, words, seen, blind, "de_DE")
        altered = dict.fromkeys(("mask", "shuffle", "swap", "blank"), "regen")
        clips.append(GroundedClip(clip_id, reference, hypothesis, evidence, altered, "film"))
    return clips


def test_a_run_that_was_not_measured_says_how(run: Run) -> None:
    page = page_of(run)
    assert "eval --grounding" in page
    assert 'data-key="reliability"' not in page and "data-reliability" not in page


def test_words_are_shaded_and_clips_can_be_sorted(run: Run) -> None:
    clips = grounded(3.0, SENTENCES)
    write_grounding(run.evaluation / "test.tsv", clips)
    page = page_of(run)
    assert 'data-key="reliability"' in page
    rows = rows_of(page)
    for clip in clips[:3]:
        row = rows[clip.clip_id]
        assert f'data-reliability="{clip.evidence.reliability:.4f}"' in row
        shown = re.findall(r'<span class="shade-(\d)( guessed)?"[^>]*>([^<]*)</span>', row)
        assert [(int(shade), bool(guessed), word) for shade, guessed, word in shown] == [
            (shade_of(word), word.content and not word.is_decided, word.text) for word in clip.evidence.words
        ]
        assert {shade for shade, _, _ in shown} == {"0", "2"}


def test_the_section_has_the_scores_of_each_alteration(run: Run) -> None:
    write_grounding(run.evaluation / "test.tsv", grounded(3.0, SENTENCES))
    section = page_of(run).split('<section id="grounding">')[1].split("</section>")[0]
    for name in ("video", "mask", "shuffle", "swap", "blank"):
        assert f'<th scope="row">{name}' in section
    assert "0 of 3 clips" in section  # film is its own partner and does not count
    assert "log probability" in section and "<svg" in section


def test_markup_in_words_is_escaped(run: Run) -> None:
    write_grounding(run.evaluation / "test.tsv", grounded(3.0, SENTENCES))
    assert "<script>alert(3)" not in page_of(run)


@pytest.mark.parametrize(
    ("text", "said"), [("{}\n", "not a grounding of clips"), ("", "is of other sentences than those scored")]
)
def test_a_grounding_that_does_not_fit_is_named_and_not_shown(run: Run, text: str, said: str) -> None:
    (run.evaluation / "grounding.test.jsonl").write_text(text, encoding="utf-8")
    page = page_of(run)
    assert said in page and "data-reliability" not in page


def test_the_grounding_of_earlier_sentences_is_not_shown(run: Run) -> None:
    other = [(clip_id, reference, f"{hypothesis} heute") for clip_id, reference, hypothesis in SENTENCES]
    write_grounding(run.evaluation / "test.tsv", grounded(3.0, other))
    page = page_of(run)
    assert "is of other sentences than those scored" in page and "data-reliability" not in page
