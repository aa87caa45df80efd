"""The metrics, one row each, and which of them a table shows. A new one is a file in this folder and a row here."""

from collections.abc import Iterable

from slt_cache.config import expanded
from slt_cache.errors import InputError
from slt_cache.metrics.base import Metric
from slt_cache.metrics.bertscore import BERTSCORE
from slt_cache.metrics.bleu import BLEU
from slt_cache.metrics.bleurt import BLEURT
from slt_cache.metrics.chrf import CHRF, CHRF_PLUS_PLUS
from slt_cache.metrics.comet import COMET
from slt_cache.metrics.embedding import EMBEDDING
from slt_cache.metrics.loss import LOSS
from slt_cache.metrics.rouge import ROUGE_L, ROUGE_L_BETA12
from slt_cache.metrics.ter import TER
from slt_cache.metrics.wer import WER

METRICS: dict[str, Metric] = {
    metric.key: metric
    for metric in (
        *BLEU,
        CHRF,
        ROUGE_L,
        ROUGE_L_BETA12,
        TER,
        CHRF_PLUS_PLUS,
        *WER,
        BERTSCORE,
        EMBEDDING,
        BLEURT,
        COMET,
    )
}
"""Metrics by key, in the order of every table and every `--json` object."""
ALWAYS = tuple(key for key, metric in METRICS.items() if not metric.optional)
"""Keys of the metrics that every evaluation has."""
NEURAL = tuple(key for key, metric in METRICS.items() if metric.is_neural)
"""Keys of the metrics that a neural model computes."""

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


def asked_for(words: Iterable[str], content_words: bool) -> tuple[list[str], dict[str, str]]:
    """Returns the metrics of a command line and the model of each that names one, from `KEY` and `KEY=MODEL`;
    `content_words` are asked for besides. Raises InputError for an unknown one, and for a model of one that needs
    none."""
    pairs = [(metric_named(key, "--metric"), model) for key, _, model in (word.partition("=") for word in words)]
    wrong = next((f"{metric.key}={model}" for metric, model in pairs if model and not metric.is_neural), None)
    if wrong is not None:
        raise InputError(f"--metric {wrong}: this metric needs no model. Those that do are {', '.join(NEURAL)}.")
    keys = [metric.key for metric, _ in pairs] + [metric.key for metric in WER if content_words]
    return keys, {metric.key: expanded(model) for metric, model in pairs if model}


def of_text(keys: Iterable[str]) -> list[str]:
    """Returns those of the keys whose metrics need no neural model."""
    return [key for key in keys if key not in NEURAL]


def page_columns(keys: Iterable[str]) -> dict[str, str]:
    """Returns key and label of the columns of a page whose scores have these keys."""
    optional = {key for key in keys if key in METRICS and METRICS[key].optional}
    return {key: metric.label for key, metric in METRICS.items() if key in ON_PAGE or key in optional}
