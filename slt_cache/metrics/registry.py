"""The metrics, one row each, and which of them a table shows. A new one is a file in this folder and a row here."""

from collections.abc import Iterable

from slt_cache.errors import InputError
from slt_cache.metrics.base import Metric
from slt_cache.metrics.bleu import BLEU
from slt_cache.metrics.chrf import CHRF
from slt_cache.metrics.loss import LOSS
from slt_cache.metrics.rouge import ROUGE_L, ROUGE_L_BETA12
from slt_cache.metrics.ter import TER

METRICS: dict[str, Metric] = {
    metric.key: metric
    for metric in (
        *BLEU,
        CHRF,
        ROUGE_L,
        ROUGE_L_BETA12,
        TER,
    )
}
"""Metrics by key, in the order of every table and every `--json` object."""
ALWAYS = tuple(key for key, metric in METRICS.items() if not metric.optional)
"""Keys of the metrics that every evaluation has."""

IN_PAPER = ("bleu1", "bleu2", "bleu3", "bleu4", "rouge_l_beta12")
"""Columns next to the paper's numbers: ROUGE-L F1.2, as in the field's tables."""
IN_SUMMARY = ("bleu1", "bleu2", "bleu3", "bleu4", "rouge_l")
"""Columns of a summary on the terminal."""
ON_PAGE = ("bleu1", "bleu2", "bleu3", "bleu4", "chrf", "rouge_l")
"""Columns of the report and of model cards; optional metrics that were requested follow."""


def metric_named(key: str, where: str = "metric") -> Metric:
    """Returns the metric. Raises InputError for an unknown one; `where` is the option or setting that named it."""
    if key not in METRICS:
        raise InputError(f"{where} {key}: no such metric. Use {', '.join(METRICS)}.")
    return METRICS[key]


def selector_named(key: str, where: str) -> Metric:
    """Returns what a training selects its weights by: a metric, or the loss of a language model."""
    return LOSS if key == LOSS.key else metric_named(key, where)


def with_requested(keys: Iterable[str], where: str = "metric") -> tuple[str, ...]:
    """Returns the keys of every evaluation and the requested ones, in the order of METRICS. Raises InputError for an
    unknown one."""
    requested = {metric_named(key, where).key for key in keys}
    return tuple(key for key in METRICS if key in ALWAYS or key in requested)


def page_columns(keys: Iterable[str]) -> dict[str, str]:
    """Returns key and label of the columns of a page whose scores have these keys."""
    optional = {key for key in keys if key in METRICS and METRICS[key].optional}
    return {key: metric.label for key, metric in METRICS.items() if key in ON_PAGE or key in optional}
