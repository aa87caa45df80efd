"""Progress bar of a training on the terminal: progress, speed and the remaining time."""

import time
from collections.abc import Mapping
from typing import Any

from tqdm import tqdm

from slt_cache.distributed.processes import is_main_process
from slt_cache.metrics.base import Metric

FORMAT = "{desc} {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt}{postfix}"


class EpochBar:
    """Progress bar over the steps of an epoch; hidden without a terminal."""

    def __init__(self, name: str, unit: str, metric: Metric, updates: int, done: int):
        self.unit = unit
        self.metric = metric
        self.units = 0
        self.begun = time.monotonic()
        self.bar: Any = tqdm(
            desc=name,
            total=updates,
            initial=done,
            leave=False,
            disable=None if is_main_process() else True,
            bar_format=FORMAT,
            dynamic_ncols=True,
        )

    def update(self, loss: str, units: int, dev: dict[str, float], left: float | None) -> None:
        """Advances by one step that read `units` frames, steps or tokens; `left` is the remaining time in seconds."""
        self.units += units
        if self.bar.disable:
            return
        rate = self.units / max(time.monotonic() - self.begun, 1e-9)
        shown = [loss, f"{rate:,.0f} {self.unit}/s"]
        if left is not None:
            shown.append(f"{duration(left)} left")
        if dev:
            shown.append(f"best dev {self.metric.label} {dev[self.metric.key]:.{self.metric.decimals}f}")
        self.bar.set_postfix_str(", ".join(shown), refresh=False)
        self.bar.update()

    def close(self) -> None:
        self.bar.close()


def duration(seconds: float) -> str:
    """Formats seconds as h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def loss_text(loss: float, terms: Mapping[str, float]) -> str:
    """Formats the cross-entropy of a training, and the other terms of its loss if there are any."""
    others = ", ".join(f"{name} {value:.3f}" for name, value in terms.items())
    return f"loss {loss:.3f}" + (f" ({others})" if others else "")
