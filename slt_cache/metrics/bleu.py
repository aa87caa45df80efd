"""BLEU-1 to BLEU-4 (Papineni et al. 2002) by sacrebleu. Each is the geometric mean of the precisions up to its order,
with the brevity penalty, and not the precision of one order."""

from functools import partial
from typing import TYPE_CHECKING

from slt_cache.metrics.base import CorpusMetric, Rules

if TYPE_CHECKING:
    from sacrebleu.metrics.bleu import BLEU as SacrebleuBleu


def _make(rules: Rules, order: int) -> "SacrebleuBleu":
    from sacrebleu.metrics.bleu import BLEU as SacrebleuBleu

    # The text is already lowercased; this makes sacrebleu's own signature say case:lc.
    lowercase, tokenize = rules.choices.lowercase, rules.preset.bleu_tokenize
    return SacrebleuBleu(lowercase=lowercase, tokenize=tokenize, max_ngram_order=order, force=True)


BLEU = tuple(
    CorpusMetric(key=f"bleu{order}", label=f"BLEU-{order}", make=partial(_make, order=order), suffix=f"|order:{order}")
    for order in range(1, 5)
)
