"""Renders results of tables as text for the terminal and for RESULTS.md, and as plain values for --json."""

from collections.abc import Sequence
from itertools import combinations, pairwise, takewhile
from statistics import mean
from typing import Any

from slt_cache.metrics.paired import SIGNIFICANT
from slt_cache.metrics.registry import IN_PAPER, METRICS
from slt_cache.metrics.seeds import MeanAndStd
from slt_cache.metrics.video_gap import GAP, SWAPPED
from slt_cache.reproduce.datasize import DATASIZE
from slt_cache.reproduce.norms import Norms
from slt_cache.reproduce.results import (
    Costs,
    Delta,
    RowResult,
    StageOne,
    TableResult,
    significant,
)
from slt_cache.reproduce.tables import Table

PAPER_ROUGE = f"paper {METRICS['rouge_l_beta12'].heading}"
PAPER_CELL = len(PAPER_ROUGE) + 3
DIFFERENCE_WIDTH = 32
"""Width of the column with the difference from the baseline row, in characters."""

COSTS = {"training": 12, "peak memory": 13, "trained parameters": 22}
"""Columns of the costs of a training, and their widths in characters."""
STAGE_1 = {"stage 1 B-4": 14, "against row 1": 29, "gap": 16, "swapped": 16, "opens": 10, "stage 1": 11, "dev B-4": 15}
"""Columns of what stage 1 gave, and their widths: test BLEU-4 and its difference, video gap with a blank and another
clip's video, first epoch in which it is open, seconds; and dev BLEU-4 of both stages."""


def table_text(result: TableResult) -> str:
    """Renders one table, one row of the paper per line, with our scores before the paper's."""
    table, seeds = result.table, len(result.rows[0].scores["bleu4"].values)
    width = max(len(one.row.label) for one in result.rows) + 2
    metrics = "".join(f"{METRICS[key].heading:>{_cell(seeds, key)}}" for key in IN_PAPER)
    columns = f"{'Light-T':>{_cell(seeds)}}{PAPER_ROUGE:>{PAPER_CELL}}{'B-4':>8}   "
    columns += f"{f'against row {table.against + 1}':<{DIFFERENCE_WIDTH}}"
    head = f"{'':<{width}}{metrics}{columns}"
    if table.hours:
        head += "stage 1"
    head += "".join(f"{name:>{width}}" for name, width in more_columns(table).items())
    lines = [
        f"{table.name}: {table.title} (test, {result.clips} clips, {seeds} {'seed' if seeds == 1 else 'seeds'})",
        head,
        *(_line(result, found, width, seeds) for found in result.rows),
        *verdict(result),
    ]
    return "\n".join(lines)


def _cell(seeds: int, key: str = "bleu4") -> int:
    """Returns the width of a metric's column."""
    return max(8 if seeds == 1 else 14, len(METRICS[key].heading) + 2)


def _line(result: TableResult, found: RowResult, width: int, seeds: int) -> str:
    line = f"{found.row.label:<{width}}" + "".join(
        f"{spread_text(found.scores[key]):>{_cell(seeds, key)}}" for key in IN_PAPER
    )
    line += f"{spread_text(found.baseline) if found.baseline else '-':>{_cell(seeds)}}"
    line += f"{number_text(found.row.rouge_l):>{PAPER_CELL}}{number_text(found.row.bleu4):>8}   "
    line += f"{against(result, found):<{DIFFERENCE_WIDTH}}"
    line += f"{found.hours.mean:.2f} h" if found.hours else ""
    columns = zip(more_text(found), more_columns(result.table).values(), strict=True)
    return line + "".join(f"{text:>{width}}" for text, width in columns)


def more_columns(table: Table) -> dict[str, int]:
    """Returns the columns that only some tables have, and their widths."""
    return (COSTS if table.costs else {}) | (STAGE_1 if table.stage_1 else {})


def more_text(found: RowResult) -> list[str]:
    """Returns the values of `more_columns`; a dash for what an earlier version did not measure."""
    costs = [] if found.costs is None else _costs_text(found.costs)
    return costs + ([] if found.stage_1 is None else _stage_1_text(found.stage_1))


def _stage_1_text(stage_1: StageOne) -> list[str]:
    gaps = (stage_1.gaps.get(key) for key in (GAP, SWAPPED))
    return [
        spread_text(stage_1.bleu4),
        _difference_text(stage_1.against) if stage_1.against else "",
        *(spread_text(gap, 3) if gap else "-" for gap in gaps),
        ", ".join("never" if epoch is None else str(epoch) for epoch in stage_1.opened) if stage_1.is_judged else "-",
        f"{stage_1.seconds.mean:,.0f} s",
        spread_text(stage_1.dev),
    ]


def _costs_text(costs: Costs) -> list[str]:
    """Returns the columns of COSTS, means over the seeds."""
    memory = f"{costs.memory_gigabytes.mean:.2f} GB" if costs.memory_gigabytes else "-"
    parameters = [f"{costs.parameters[name] / 1e6:.2f} M" for name in ("trained", "all") if costs.parameters]
    return [f"{costs.seconds.mean:,.0f} s", memory, " of ".join(parameters) or "-"]


def spread_text(spread: MeanAndStd, decimals: int = 2) -> str:
    deviation = spread.deviation
    return f"{spread.mean:.{decimals}f}" + (f" ± {deviation:.{decimals}f}" if deviation is not None else "")


def number_text(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def against(result: TableResult, found: RowResult) -> str:
    """Returns the difference of BLEU-4 from the baseline row, with its significance."""
    return _difference_text(found.against) if found.against else ""


def _difference_text(differences: Sequence[Delta]) -> str:
    middle = mean(one.value for one in differences)
    if len(differences) == 1:
        return f"{middle:+.2f} (p = {differences[0].p:.3f})"
    return f"{middle:+.2f} (p < {SIGNIFICANT} in {significant(differences)} of {len(differences)})"


def verdict(result: TableResult) -> list[str]:
    """Returns what the paper found, whether it is confirmed here, and whether the scores are due to the LLM."""
    finding = [f"the paper: {result.table.finding}"] if result.table.finding else []
    return [*finding, *_order(result), *_against_baseline(result), *_pays(result), *_chosen(result)]


def _order(result: TableResult) -> list[str]:
    """Describes the order of the rows by BLEU-4, as far as it is significant."""
    lines = [f"here: {_order_claim(result)}"]
    unclear = [one.row.label for one in result.rows if one.against and significant(one.against) < len(one.against)]
    if unclear:
        reference = result.rows[result.table.against]
        seeds = " for every seed" if len(reference.scores["bleu4"].values) > 1 else ""
        lines.append(f"not{seeds} significantly different from {reference.row.label}: {', '.join(unclear)}")
    return lines


def _order_claim(result: TableResult) -> str:
    ranked = sorted(range(len(result.rows)), key=lambda place: -result.rows[place].bleu4)
    if not any(one.bleu4 for one in result.rows):
        return "no order, as every row scores 0 BLEU-4"
    if len(ranked) > 1 and all(result.leader(*pair) is None for pair in combinations(ranked, 2)):
        return f"no order, as no difference of BLEU-4 between these rows is more than chance (p < {SIGNIFICANT})"
    order = result.rows[ranked[0]].row.label
    for before, place in pairwise(ranked):
        order += f" {'>' if result.leader(before, place) == before else '≈'} {result.rows[place].row.label}"
    if not result.pairs:
        return f"the paper gives no numbers to compare the order of these rows with: {order}"
    if not result.undecided:
        same = "the same order" if result.agreeing == result.pairs else "another order"
        return f"{same} by BLEU-4, {result.agreeing} of {result.pairs} pairs of rows agree: {order}"
    opposed = result.pairs - result.agreeing - result.undecided
    return (
        f"of {result.pairs} pairs of rows {result.agreeing} agree with the paper by BLEU-4, {opposed} disagree, and "
        f"{result.undecided} may be chance: {order}"
    )


def _against_baseline(result: TableResult) -> list[str]:
    texts = [f"{one.row.label} {_difference_text(one.against_baseline)}" for one in result.rows if one.against_baseline]
    return [f"against the Light-T baseline: {', '.join(texts)}"] if texts else []


def _pays(result: TableResult) -> list[str]:
    """Says from which share of the clips on the LLM is better than the Light-T baseline on the same clips."""
    if result.table.name != DATASIZE:
        return []
    found = [one for one in result.rows if one.against_baseline]
    paying = list(takewhile(lambda one: _is_better(one.against_baseline), reversed(found)))
    if not paying:
        return ["the LLM does not pay: with all clips it is not significantly better than the Light-T baseline"]
    share = paying[-1].row.label.partition(":")[0]
    return [f"the LLM pays from {share} on: significantly better than the Light-T baseline on the same clips"]


def _is_better(differences: Sequence[Delta]) -> bool:
    return significant(differences) == len(differences) and mean(one.value for one in differences) > 0


def _chosen(result: TableResult) -> list[str]:
    """Says which row is the best on dev, where it is chosen, and how it does on test."""
    found = result.chosen
    if found is None or found.stage_1 is None:
        return []
    reference = result.rows[result.table.against]
    gain = f", {_difference_text(found.against)} BLEU-4 against {reference.row.label} on test" if found.against else ""
    return [f"chosen on dev: {found.row.label} (dev BLEU-4 {spread_text(found.stage_1.dev)}{gain})"]


def norms_text(norms: Sequence[Norms], finding: str) -> str:
    """Describes figure 2 in words."""
    lines = ["fig2: norms of the last layer of encoder and LLM in joint training, median of the logged updates"]
    for one in norms:
        lines.append(
            f"{one.kind + ' norm':<16}encoder {one.encoder:9.4f}   LLM {one.llm:9.4f}   "
            f"the LLM's is larger in {one.llm_larger:.0%} of {one.steps:,} updates"
        )
    if not norms:
        lines.append("no norms were logged (compute.diagnostics=false)")
    return "\n".join([*lines, f"the paper: {finding}"])


def to_json(result: TableResult) -> dict[str, Any]:
    return {
        "title": result.table.title,
        "finding": result.table.finding,
        "clips": result.clips,
        "signature": result.signature,
        "trained": result.trained,
        "pairs": result.pairs,
        "agreeing_pairs": result.agreeing,
        "undecided_pairs": result.undecided,
        **({} if result.chosen is None else {"chosen_on_dev": result.chosen.row.variant}),
        "rows": [
            {
                "label": one.row.label,
                "variant": one.row.variant,
                "model": one.row.model,
                "scores": {key: list(spread.values) for key, spread in one.scores.items()},
                "control_bleu4": list(one.baseline.values) if one.baseline else None,
                "control_p": [each.p for each in one.against_baseline],
                "p": [each.p for each in one.against],
                "stage1_hours": list(one.hours.values) if one.hours else None,
                **({} if one.costs is None else {"costs": _costs_json(one.costs)}),
                **({} if one.stage_1 is None else {"stage_1": _stage_1_json(one.stage_1)}),
                "paper": {"rouge_l": one.row.rouge_l, "bleu4": one.row.bleu4},
            }
            for one in result.rows
        ],
    }


def _costs_json(costs: Costs) -> dict[str, Any]:
    memory = costs.memory_gigabytes
    return {
        "seconds": list(costs.seconds.values),
        "memory_gigabytes": None if memory is None else list(memory.values),
        "parameters": dict(costs.parameters),
    }


def _stage_1_json(stage_1: StageOne) -> dict[str, Any]:
    return {
        "bleu4": list(stage_1.bleu4.values),
        "p": [each.p for each in stage_1.against],
        **{key: list(gap.values) for key, gap in stage_1.gaps.items()},
        "epoch_of_gap": list(stage_1.opened),
        "seconds": list(stage_1.seconds.values),
        "dev_bleu4": list(stage_1.dev.values),
    }
