"""The table `datasize`: scores over the share of the train clips that both stages and the Light-T baseline learn from
(corpus.fraction), so that one sees from how many clips on an LLM pays."""

from slt_cache.config import Config
from slt_cache.reproduce.tables import BASE, Row, Table

DATASIZE = "datasize"
FRACTION = "fraction"
"""Beginning of the names of its variants."""
SHARES = (0.125, 0.25, 0.5, 1.0)
"""Shares of the train clips."""


def datasize_table(config: Config) -> Table:
    """Returns the table: for each share a row of stage 1 alone and one of both stages, next to the Light-T baseline."""
    rows = [
        Row(f"{share * 100:g} % of the clips: {what}", variant_of_share(share, config), model)
        for share in SHARES
        for what, model in (("stage 1", "visual"), ("both stages", "llm"))
    ]
    return Table(DATASIZE, "share of the train clips, epochs as for all", "", tuple(rows), against=len(rows) - 1)


def variant_of_share(share: float, config: Config) -> str:
    return BASE if share == config.corpus.fraction else f"{FRACTION}-{share:g}"


def share_of(variant: str, config: Config) -> float:
    """Returns the share of the clips that a variant of this table trains on."""
    return config.corpus.fraction if variant == BASE else float(variant.rpartition("-")[2])
