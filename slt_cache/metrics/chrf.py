"""chrF (Popović 2015), the F-score of character n-grams, by sacrebleu."""

from typing import TYPE_CHECKING

from slt_cache.metrics.base import CorpusMetric, Rules

if TYPE_CHECKING:
    from sacrebleu.metrics.chrf import CHRF as SacrebleuChrf


def _make(rules: Rules) -> "SacrebleuChrf":
    from sacrebleu.metrics.chrf import CHRF as SacrebleuChrf

    return SacrebleuChrf(lowercase=rules.choices.lowercase)


CHRF = CorpusMetric(key="chrf", label="chrF", make=_make)
