"""The loss per token on dev, which decides which weights of a language model are kept. It is no metric of texts."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from slt_cache.metrics.base import Metric, Rules, Score, Statistics


@dataclass(frozen=True, kw_only=True)
class _TokenLoss(Metric):
    def score(self, hypotheses: Sequence[str], references: Sequence[str], rules: Rules, bootstrap: int | None) -> Score:
        self._refuse()

    def paired(
        self, ours: Sequence[str], theirs: Sequence[str], references: Sequence[str], rules: Rules, resamples: int
    ) -> tuple[float, float, float]:
        self._refuse()

    def statistics(self, hypotheses: Sequence[str], references: Sequence[str], rules: Rules) -> Statistics:
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise NotImplementedError("the loss needs the model, not its sentences")


LOSS = _TokenLoss(key="loss", label="loss", lower_is_better=True, highest=math.inf, decimals=3)
"""Nats per target token."""
