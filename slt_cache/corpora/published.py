"""The size of a split of an official corpus, as published. The numbers are in the file of each corpus."""

from dataclasses import dataclass


@dataclass(frozen=True)
class SplitSize:
    """One split as published."""

    rows: int
    """Rows of the annotation."""
    frames: float = 0
    """Source frames, for estimates while the corpus is not at hand."""
    ready_cut: int | None = None
    """Clips that are distributed already cut (How2Sign), some of which are missing; None if there is one for each
    row."""
    in_paper: int | None = None
    """Clips as Chen et al. 2024 count them; None if they count the rows."""

    @property
    def clips(self) -> int:
        """Returns the clips of a training, for estimates: those of the paper."""
        return self.rows if self.in_paper is None else self.in_paper

    @property
    def numbers(self) -> tuple[int, ...]:
        """Returns the rows, followed by the other numbers of clips that were published."""
        return self.rows, *(number for number in (self.ready_cut, self.in_paper) if number is not None)

    def __str__(self) -> str:
        also = [(self.ready_cut, "ready-cut clips"), (self.in_paper, "clips in the paper")]
        return ", ".join(
            [f"{self.rows:,} rows", *(f"{number:,} {what}" for number, what in also if number is not None)]
        )
