"""Two sets of hypotheses for the same references -> whether their scores differ by more than chance."""

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slt_cache.metrics.bootstrap import check_resamples, paired_p, seed
from slt_cache.metrics.normalization import RAW, TextChoices
from slt_cache.metrics.rouge import rouge_l
from slt_cache.metrics.scores import KEYS, PRESETS, ROUGE_NAMES, corpus_metrics, scored_text

if TYPE_CHECKING:
    from sacrebleu.metrics.base import Metric

RESAMPLES = 1000
EQUAL = 1e-9
"""Scores, 0..100, that lie no further apart differ by rounding alone."""


@dataclass(frozen=True)
class Comparison:
    """One figure of two sets of hypotheses."""

    name: str
    value: float
    """0..100, of the hypotheses."""
    other: float
    """0..100, of the others."""
    p: float
    """How likely so large a difference is where there is none, by sacrebleu's formula, which for a clear difference
    counts one side (a two-sided p is about twice it); 1 where the scores are equal."""
    signature: str


def compare(
    hypotheses: Sequence[str],
    others: Sequence[str],
    references: Sequence[str],
    preset: str = "plain",
    choices: TextChoices = RAW,
    resamples: int = RESAMPLES,
    step: Callable[[], None] = lambda: None,
    figures: Container[str] = KEYS,
) -> dict[str, Comparison]:
    """Paired bootstrap (Koehn 2004) by sacrebleu for BLEU-1..4 and chrF, and by the same formula for ROUGE-L. `figures`
    are the keys to test, all unless named; `step` is called after each.

    Raises InputError where any two of the three differ in number, or are empty."""
    check_resamples(resamples)
    cut = PRESETS[preset]
    ours, wanted = scored_text(hypotheses, references, cut, choices)
    theirs, _ = scored_text(others, references, cut, choices)
    signature = f"paired-bs:{resamples}|seed:{seed()}"
    found: dict[str, Comparison] = {}
    for key, (name, metric) in corpus_metrics(cut, choices).items():
        if key not in figures:
            continue
        found[key] = Comparison(name, *_paired(metric, ours, theirs, wanted, resamples), signature)
        step()
    tested = [key for key in ROUGE_NAMES if key in figures]
    if not tested:
        return found
    our_rouge, their_rouge = (rouge_l(texts, wanted, cut.rouge_units) for texts in (ours, theirs))
    for key in tested:
        values = our_rouge[key]
        value, other = float(values.mean()), float(their_rouge[key].mean())
        p = _unless_equal(value, other, paired_p(values, their_rouge[key], resamples))
        found[key] = Comparison(ROUGE_NAMES[key][0], value, other, p, signature)
        step()
    return found


def _paired(
    metric: "Metric", ours: list[str], theirs: list[str], references: list[str], resamples: int
) -> tuple[float, float, float]:
    """Score of ours, score of theirs, p."""
    from sacrebleu.significance import PairedTest, Result

    # One figure a test: PairedTest keeps them by sacrebleu's name, which is "BLEU" for BLEU-1..4.
    test = PairedTest(
        [("theirs", theirs), ("ours", ours)], {"figure": metric}, [references], test_type="bs", n_samples=resamples
    )
    _, table = test()
    baseline, tested = (row for name, rows in table.items() if name != "System" for row in rows)
    assert isinstance(baseline, Result) and isinstance(tested, Result) and tested.p_value is not None
    value, other = float(tested.score), float(baseline.score)
    return value, other, _unless_equal(value, other, tested.p_value)


def _unless_equal(value: float, other: float, p: float) -> float:
    """1 for equal scores, where sacrebleu's formula gives its smallest p to a file against itself."""
    return 1.0 if abs(value - other) < EQUAL else p
