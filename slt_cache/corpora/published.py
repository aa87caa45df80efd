"""How many clips the official corpora have, as published; the one place for these numbers."""

from dataclasses import dataclass


@dataclass(frozen=True)
class SplitSize:
    """One split as published."""

    rows: int
    """Of the annotation."""
    ready_cut: int | None = None
    """Clips that are given out already cut (How2Sign), some of which are missing; None if there is one for each row."""
    in_paper: int | None = None
    """Clips as Chen et al. 2024 count them; None if they count the rows."""

    @property
    def clips(self) -> int:
        """Clips of a training, for estimates: those of the paper."""
        return self.rows if self.in_paper is None else self.in_paper

    @property
    def numbers(self) -> tuple[int, ...]:
        """Rows, then what else passes for a number of clips."""
        return self.rows, *(number for number in (self.ready_cut, self.in_paper) if number is not None)

    def __str__(self) -> str:
        also = [(self.ready_cut, "ready-cut clips"), (self.in_paper, "clips in the paper")]
        return ", ".join(
            [f"{self.rows:,} rows", *(f"{number:,} {what}" for number, what in also if number is not None)]
        )


PHOENIX14T = {"train": SplitSize(7_096), "dev": SplitSize(519), "test": SplitSize(642)}
"""Camgoz et al. 2018."""
CSL_DAILY = {"train": SplitSize(18_401), "dev": SplitSize(1_077), "test": SplitSize(1_176)}
"""Zhou et al. 2021."""
HOW2SIGN = {
    "train": SplitSize(31_165, ready_cut=31_048, in_paper=31_164),
    "dev": SplitSize(1_741, ready_cut=1_739, in_paper=1_740),
    "test": SplitSize(2_357, ready_cut=2_343, in_paper=2_356),
}
"""Rows of how2sign_realigned_{train,val,test}.csv and ready-cut clips as given out by Duarte et al. 2021. The paper
counts one less than the rows of each split; it does not say which."""
