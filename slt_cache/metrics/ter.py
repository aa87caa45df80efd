"""TER (Snover et al. 2006), the edits per word of the reference, by sacrebleu. Lower is better, and the scale is open:
a hypothesis that is much longer than its reference needs more edits than the reference has words."""

import math
from typing import TYPE_CHECKING

from slt_cache.metrics.base import CorpusMetric, Rules

if TYPE_CHECKING:
    from sacrebleu.metrics.ter import TER as SacrebleuTer


def _make(rules: Rules) -> "SacrebleuTer":
    """Returns TER with the defaults of `sacrebleu -m ter`; it counts characters instead of words if BLEU does."""
    from sacrebleu.metrics.ter import TER as SacrebleuTer

    by_character = rules.preset.bleu_tokenize == "char"
    return SacrebleuTer(normalized=by_character, asian_support=by_character)


TER = CorpusMetric(key="ter", label="TER", make=_make, lower_is_better=True, highest=math.inf, optional=True)
