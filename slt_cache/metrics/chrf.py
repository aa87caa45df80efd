"""chrF (Popović 2015), the F-score of character n-grams, and chrF++ (Popović 2017), which also counts words and pairs
of words, by sacrebleu."""

from functools import partial
from typing import TYPE_CHECKING

from slt_cache.metrics.base import CorpusMetric, Rules

if TYPE_CHECKING:
    from sacrebleu.metrics.chrf import CHRF as SacrebleuChrf


def _make(rules: Rules, word_order: int) -> "SacrebleuChrf":
    from sacrebleu.metrics.chrf import CHRF as SacrebleuChrf

    return SacrebleuChrf(lowercase=rules.choices.lowercase, word_order=word_order)


CHRF = CorpusMetric(key="chrf", label="chrF", make=partial(_make, word_order=0))
CHRF_PLUS_PLUS = CorpusMetric(key="chrf++", label="chrF++", make=partial(_make, word_order=2), optional=True)
