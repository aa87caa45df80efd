"""Draws the logs of a run's trainings: losses, dev scores, and the norms of gradients and weights."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from slt_cache.checkpoints.record import Record, read_record
from slt_cache.config import BLEU4
from slt_cache.metrics.base import Metric
from slt_cache.metrics.registry import METRICS
from slt_cache.metrics.video_gap import GAP, SWAPPED, blindness
from slt_cache.report.lines import Chart, Series, draw_lines
from slt_cache.report.template import colour_of, css_colour_of
from slt_cache.runs.run import Run
from slt_cache.runs.unfinished import BEST, metrics_file
from slt_cache.runs.variants import MODELS, TRAININGS, Variant
from slt_cache.training.diagnostics import llm_larger
from slt_cache.training.logs import OF_TERM, read_metrics
from slt_cache.training.task import LAST

MODULES = {
    "encoder": "visual encoder (temporal module)",
    "adapter": "adapter",
    "translator": "Light-T",
    "llm": "LLM",
}
"""Modules whose last layers have their norms logged (training/diagnostics.py), in the order of the legend."""
HALF = 0.5
FLAT = 0.4
"""Share of a common axis below which a line would look flat."""
MOST_POINTS = 400
"""Most points of a line; longer logs are thinned out evenly, which is invisible at this size."""


@dataclass(frozen=True)
class Training:
    """Log and record of one stage."""

    variant: Variant
    lines: list[dict[str, Any]]
    """Lines of metrics.jsonl."""
    record: Record | None
    metric: Metric
    """Metric that selected the best weights."""

    @property
    def key(self) -> str:
        """Name of its folder in the run."""
        return self.variant.name

    @property
    def name(self) -> str:
        return self.variant.training

    @property
    def is_drawn(self) -> bool:
        """Whether it has a curve: pre-training has not, as its task and loss are not comparable."""
        return self.key in MODELS

    @property
    def steps(self) -> list[dict[str, Any]]:
        """Lines of logged updates."""
        return [line for line in self.lines if line["kind"] == "step"]

    @property
    def losses(self) -> tuple[tuple[float, float], ...]:
        """Loss of every logged update, or of every epoch if the training is too short to have any."""
        return _thinned((line["step"], line["loss"]) for line in self.steps or self.lines)

    @property
    def dev(self) -> tuple[tuple[float, float], ...]:
        """Epoch and score of every epoch that was evaluated."""
        return self.dev_in(self.metric)

    def dev_in(self, metric: Metric) -> tuple[tuple[float, float], ...]:
        """Returns (epoch, score) in a metric, of every epoch that has it."""
        epochs = [line for line in self.lines if line["kind"] == "epoch" and metric.key in line["dev"]]
        return tuple((line["epoch"], line["dev"][metric.key]) for line in epochs)

    @property
    def gaps(self) -> tuple[Series, ...]:
        """Video gap of every epoch that was evaluated, with a blank video and with that of another clip."""
        return self._by_epoch({GAP: "blank video", SWAPPED: "another clip's video"})

    @property
    def terms(self) -> tuple[Series, ...]:
        """Terms of the loss besides the cross-entropy, unweighted, in the mean of every epoch."""
        names = dict.fromkeys(key for line in self.lines for key in line if key.startswith(OF_TERM))
        return self._by_epoch({key: key.removeprefix(OF_TERM) for key in names})

    def _by_epoch(self, named: Mapping[str, str]) -> tuple[Series, ...]:
        """Returns the values of every epoch that has them, by their keys in metrics.jsonl and names in the legend."""
        epochs = [line for line in self.lines if line["kind"] == "epoch"]
        return tuple(
            Series(name, tuple((line["epoch"], line[key]) for line in epochs if key in line), inked=True)
            for key, name in named.items()
        )


@dataclass(frozen=True)
class Drawn:
    """Drawings of one training, to be shown side by side."""

    name: str
    drawings: tuple[Markup, ...]
    finding: str = ""
    """One sentence on what they show."""
    colour: str = ""
    """CSS colour of the model."""


def read_trainings(run: Run) -> list[Training]:
    """Reads all trainings of the run, finished or not."""
    found = [_read(one, run.folder / name) for name, one in TRAININGS.items()]
    return [one for one in found if one.lines or one.record]


def _read(variant: Variant, folder: Path) -> Training:
    record = read_record(folder / BEST)
    begun = record or read_record(folder / LAST)
    metric = METRICS[BLEU4] if begun is None else begun.selected_by
    return Training(variant, read_metrics(metrics_file(folder)), record, metric)


def dev_axis(metric: Metric) -> str:
    """Returns the label of an axis of dev scores."""
    return f"dev {metric.label} ({'lower is better' if metric.lower_is_better else '0 to 100'})"


def draw_curves(trainings: Sequence[Training]) -> list[Drawn]:
    """Draws loss and dev scores of each training. All losses share one axis, and so do all dev scores, unless one of
    them would look flat; then each has its own."""
    trainings = [one for one in trainings if one.is_drawn and one.losses]
    loss_top = _common_top([one.losses for one in trainings], step=1)
    score_top = _common_top([one.dev for one in trainings], step=10)
    return [
        Drawn(
            one.name,
            (_loss_drawing(one, loss_top), _dev_drawing(one, score_top), _gap_drawing(one), _terms_drawing(one)),
            _blindness(one),
            css_colour_of(one.key),
        )
        for one in trainings
    ]


def shared_axes(trainings: Sequence[Training]) -> list[str]:
    """Returns what all trainings draw on a common vertical axis: losses, dev scores, both, or nothing."""
    drawn = [one for one in trainings if one.is_drawn and one.losses]
    shared = {"losses": [one.losses for one in drawn], "dev scores": [one.dev for one in drawn]}
    return [name for name, lines in shared.items() if len(drawn) > 1 and _common_top(lines, 1) is not None]


def _loss_drawing(training: Training, top: float | None) -> Markup:
    return draw_lines(
        Chart(
            key=f"{training.key}-loss",
            title=f"{training.name}: training loss over update steps",
            x_label="update step",
            y_label="loss (nats per token)",
            series=(Series("loss", training.losses, colour_of(training.key)),),
            top=top,
        )
    )


def _dev_drawing(training: Training, top: float | None) -> Markup:
    metric = training.metric
    return draw_lines(
        Chart(
            key=f"{training.key}-dev",
            title=f"{training.name}: dev {metric.label} over epochs",
            x_label="epoch",
            y_label=dev_axis(metric),
            series=(Series(f"dev {metric.label}", training.dev, colour_of(training.key)),),
            top=top,
            points=True,
            marked="lowest" if metric.lower_is_better else "highest",
        )
    )


def _blindness(training: Training) -> str:
    if training.record is None:
        return ""
    blind = blindness(training.record.video_gap, training.record.settings, training.variant.llm)
    return blind and f"Warning: {blind}."


def _gap_drawing(training: Training) -> Markup:
    return draw_lines(
        Chart(
            key=f"{training.key}-gap",
            title=f"{training.name}: video gap, the rise of the dev loss without a clip's own video, over epochs",
            x_label="epoch",
            y_label="video gap (nats per token)",
            series=training.gaps,
            points=True,
        )
    )


def _terms_drawing(training: Training) -> Markup:
    terms = training.terms
    return draw_lines(
        Chart(
            key=f"{training.key}-terms",
            title=f"{training.name}: terms of the loss besides the cross-entropy, unweighted, over epochs",
            x_label="epoch",
            y_label=terms[0].name if len(terms) == 1 else "value of each term",
            series=terms,
            points=True,
        )
    )


def draw_norms(trainings: Sequence[Training]) -> list[Drawn]:
    """Draws norms of gradients and weights by module for each training that logged them (paper, figure 2)."""
    trainings = [one for one in trainings if one.is_drawn]
    drawn = [
        Drawn(
            one.name,
            (_norm_drawing(one, "grad_norm", "gradient"), _norm_drawing(one, "param_norm", "weights")),
            _diagnosis(one),
            css_colour_of(one.key),
        )
        for one in trainings
    ]
    return [one for one in drawn if any(one.drawings)]


def _diagnosis(training: Training) -> str:
    """Says whether encoder or LLM has the larger gradient if they are trained together."""
    share, updates = llm_larger(training.steps, "grad_norm") if _learn_together(training.variant) else (0.0, 0)
    if not updates:
        return ""
    finding = f"The LLM's gradient is the larger one in {share:.0%} of the {updates:,} logged updates"
    if share > HALF:
        return f"{finding}: it dominates this training, as the paper says of joint training. Freezing avoids it."
    return f"{finding}: here the LLM does not dominate the encoder, unlike in the paper's joint training."


def _learn_together(variant: Variant) -> bool:
    """Returns whether the whole encoder and the LLM are trained together."""
    return variant.own_encoder and variant.trains_encoder == "all"


def _norm_drawing(training: Training, kind: str, what: str) -> Markup:
    return draw_lines(
        Chart(
            key=f"{training.key}-{kind}",
            title=f"{training.name}: norm of the {what} of each module's last layer over update steps",
            x_label="update step",
            y_label=f"norm of the {what}",
            series=_of_modules(training, kind),
            logarithmic=kind == "grad_norm",  # gradients differ by orders of magnitude, weights do not
        )
    )


def _of_modules(training: Training, kind: str) -> tuple[Series, ...]:
    def of(key: str) -> tuple[tuple[float, float], ...]:
        return _thinned((line["step"], line[key]) for line in training.steps if key in line)

    names = dict(MODULES)
    if not training.variant.llm:
        names["llm"] = MODULES["translator"]
    elif training.variant.own_encoder:
        names["translator"] = MODULES["llm"]
    return tuple(Series(name, of(f"{kind}/{module}"), inked=True) for module, name in names.items())


def _thinned(points: Iterable[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    every = list(points)
    return tuple(every[:: -(-len(every) // MOST_POINTS) or 1])


def _common_top(lines: Sequence[Sequence[tuple[float, float]]], step: float) -> float | None:
    """Returns the end of a common axis: the next multiple of `step`. None if the maximum of one line is less than FLAT
    of that of another."""
    highest = [max(found) for points in lines if (found := [y for _, y in points if math.isfinite(y)])]
    if not highest:
        return step
    if min(highest) < FLAT * max(highest):
        return None
    return max(math.ceil(max(highest) / step), 1) * step
