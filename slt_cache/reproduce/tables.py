"""The paper's tables (Chen et al. 2024, all on PHOENIX14T's test set), and which of our trainings belongs to a row.

A training is named by a variant of the run's settings (variants.py) and by a model of the run (runs/variants.py)."""

from dataclasses import dataclass

from slt_cache.config import Config
from slt_cache.text.families import title_of

BASE = "base"
"""The variant whose settings are the run's own."""
KEEP_RATES = {1.0: 22.96, 0.5: 23.04, 0.25: 23.09, 0.125: 20.02}
"""The paper's BLEU-4 by share of frames kept (table 6)."""
LIGHT_T_BLEU4 = {"tiny": 22.52, "small": 22.36, "base": 23.09, "large": 22.49}
"""The paper's BLEU-4 by size of Light-T (table 7)."""
EPOCH_SHARES = (0.25, 0.5, 0.75, 1.0)
"""Shares of stage 1's epochs after which weights are kept (figure 4)."""


@dataclass(frozen=True)
class Row:
    """One row of a table."""

    label: str
    variant: str
    model: str
    """Name of the model in runs/variants.py."""
    bleu4: float | None = None
    """The paper's BLEU-4; None if it gives only a picture."""
    rouge_l: float | None = None
    """The paper's ROUGE-L (F1.2)."""


@dataclass(frozen=True)
class Table:
    name: str
    title: str
    finding: str
    """Conclusion of the paper; empty if the table is not in it."""
    rows: tuple[Row, ...]
    against: int = 0
    """Baseline row that the others are compared with: the paper's own method."""
    hours: bool = False
    """Whether stage 1's hours are part of the table."""
    costs: bool = False
    """Whether seconds, memory and parameters of each training are part of the table."""
    stage_1: bool = False
    """Whether the scores and video gaps of stage 1 are part of the table, and a row is chosen on dev."""
    asked: str = ""
    """Name on the command line if several tables share one."""

    @property
    def asked_as(self) -> str:
        """Name on the command line."""
        return self.asked or self.name


def tables(config: Config) -> dict[str, Table]:
    """Returns all tables by name; rows with the run's own settings are its base."""
    llm = title_of(config.llm.name)
    best = {"bleu4": 23.09, "rouge_l": 45.27}
    both = Row("both stages", BASE, "llm", **best)
    listed = (
        Table(
            "table4",
            "two stages or joint training",
            "Encoder and LLM trained together end to end are far worse than one after the other.",
            (both, Row("encoder and LLM jointly", BASE, "joint", 12.90, 32.52)),
        ),
        Table(
            "table5",
            "what each stage gives",
            "Either stage alone is worse than both; stage 1 is worth more than stage 2.",
            (
                both,
                Row("stage 1 only (Light-T)", BASE, "visual", 17.69, 38.67),
                Row("stage 2 only (initial backbone)", BASE, "joint-temporal", 5.62, 17.33),
            ),
        ),
        _table6(config),
        _table7(config),
        Table(
            "table8",
            "what stage 2 reads",
            "Sign-wise features are the best input, frame-wise ones the worst.",
            (
                Row("sign-wise features", BASE, "llm", **best),
                Row("frame-wise features", "frame", "llm", 20.30, 41.59),
                Row("states of Light-T's encoder", "hidden", "llm", 22.60, 45.16),
            ),
        ),
        Table(
            "table9",
            "what is trained in stage 2",
            "The whole visual encoder should be frozen.",
            (
                Row("encoder frozen", BASE, "llm", **best),
                Row("temporal module unfrozen", BASE, "llm-unfreeze-temporal", 20.40, 39.86),
                Row("encoder unfrozen", BASE, "llm-unfreeze-all", 17.86, 40.72),
            ),
        ),
        Table(
            "table10",
            "the LLM, and its pre-training",
            "Pre-training helps MBart and mT5 a lot, and MBart is the better of the two.",
            (
                Row(f"{llm}, pre-trained", BASE, "llm", **best),
                Row(f"{llm} from scratch", BASE, "llm-from-scratch", 16.19, 40.18),
                Row("mT5, pre-trained", "mt5", "llm", 19.71, 41.06),
                Row("mT5 from scratch", "mt5", "llm-from-scratch", 7.39, 22.71),
            ),
        ),
        Table(
            "fig2",
            "gradient and parameter norms of joint training",
            "The LLM's last layer has the larger norms in every step, and so dominates the training.",
            (Row("encoder and LLM jointly", BASE, "joint"),),
        ),
        _fig4(config),
    )
    return {table.name: table for table in listed}


def _table6(config: Config) -> Table:
    rows = tuple(
        Row(f"{rate * 100:g} % of the frames kept", keep_variant(config, rate), "llm", bleu4)
        for rate, bleu4 in KEEP_RATES.items()
    )
    finding = "One frame in four is enough, and much faster to train; one in eight is too few."
    return Table("table6", "frames kept", finding, rows, against=2, hours=True)


def _table7(config: Config) -> Table:
    rows = tuple(
        Row(f"Light-T {size}", light_t_variant(config, size), "llm", bleu4) for size, bleu4 in LIGHT_T_BLEU4.items()
    )
    return Table("table7", "size of Light-T", "Its size matters little; base is the best.", rows, against=2)


def _fig4(config: Config) -> Table:
    rows = tuple(
        Row(f"stage 1 for {epoch} {'epoch' if epoch == 1 else 'epochs'}", f"epoch-{epoch}", "llm")
        for epoch in kept_epochs(config)
    )
    finding = "More epochs of stage 1 help up to a point (75 of 100); after it both stages get slightly worse."
    return Table("fig4", "epochs of stage 1", finding, rows, against=len(rows) - 1)


def kept_epochs(config: Config) -> tuple[int, ...]:
    """Returns the epochs of stage 1 whose weights are kept for figure 4, including the last one."""
    epochs = config.visual_training.epochs
    return tuple(sorted({max(1, round(share * epochs)) for share in EPOCH_SHARES}))


def keep_variant(config: Config, rate: float) -> str:
    return BASE if rate == config.video.keep_rate else f"keep-{rate:g}"


def light_t_variant(config: Config, size: str) -> str:
    return BASE if size == config.light_t.size else f"light-t-{size}"
