"""One metric over trainings that differ in their seeds."""

from dataclasses import dataclass
from statistics import mean, stdev


@dataclass(frozen=True)
class MeanAndStd:
    """Mean and sample standard deviation of a metric over the seeds."""

    values: tuple[float, ...]
    """One value per seed."""

    @property
    def mean(self) -> float:
        return mean(self.values)

    @property
    def deviation(self) -> float | None:
        """Sample standard deviation; None for a single seed."""
        return stdev(self.values) if len(self.values) > 1 else None
