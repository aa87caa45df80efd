"""The table over shares of the train clips: what its rows train on, and from which share on the LLM pays."""

import json
from pathlib import Path

import pytest

from slt_cache.checkpoints.record import read_record
from slt_cache.config import load_config
from slt_cache.metrics.registry import IN_PAPER
from slt_cache.metrics.seeds import MeanAndStd
from slt_cache.reproduce.datasize import SHARES, datasize_table, share_of
from slt_cache.reproduce.planning import plan
from slt_cache.reproduce.render import table_text
from slt_cache.reproduce.results import Delta, RowResult, TableResult
from slt_cache.reproduce.variants import folder_of, run_of
from tests.helpers.commands import brief_config, slt_cache

RICH = load_config("avatar-rich")
TABLE = datasize_table(RICH)


def test_every_share_has_both_stages_on_the_same_clips_of_one_corpus_with_one_llm() -> None:
    assert [share_of(row.variant, RICH) for row in TABLE.rows] == [share for share in SHARES for _ in range(2)]
    runs = [run_of(folder_of(Path("r"), 0, row.variant, RICH), RICH, row.model) for row in TABLE.rows]
    assert [run.config.corpus.fraction for run in runs] == [share_of(row.variant, RICH) for row in TABLE.rows]
    assert {run.config.corpus.root for run in runs} == {"r/corpus"}
    names = [step.name for step in plan([TABLE], (0,), Path("r"), RICH)]
    assert [name for name in names if "pre-training" in name] == ["seed 0, base: pre-training"]
    for variant in ("fraction-0.125", "fraction-0.25", "fraction-0.5", "base"):
        for what in ("stage 1", "stage 2", "Light-T baseline"):
            assert {f"seed 0, {variant}: {what}", f"seed 0, {variant}: test of {what}"} <= set(names)


@pytest.mark.parametrize(
    ("gains", "said"),
    [
        ((Delta(-1, 0.01), Delta(2, 0.01), Delta(2, 0.01), Delta(3, 0.01)), "pays from 25 % of the clips on"),
        ((Delta(2, 0.01), Delta(1, 0.3), Delta(2, 0.01), Delta(3, 0.01)), "pays from 50 % of the clips on"),
        ((Delta(2, 0.01), Delta(2, 0.01), Delta(2, 0.01), Delta(3, 0.2)), "does not pay: with all clips"),
        ((Delta(-2, 0.01),) * 4, "does not pay: with all clips"),
    ],
)
def test_the_share_from_which_on_the_llm_pays_is_named(gains: tuple[Delta, ...], said: str) -> None:
    rows = [
        RowResult(
            row,
            {key: MeanAndStd((8.0,)) for key in IN_PAPER},
            MeanAndStd((6.0,)) if row.model == "llm" else None,
            (gains[place // 2],) if row.model == "llm" else (),
            () if place == TABLE.against else (Delta(-1.0, 0.5),),
            None,
        )
        for place, row in enumerate(TABLE.rows)
    ]
    assert f"the LLM {said}" in table_text(TableResult(TABLE, tuple(rows), 10, "a signature", "2026-11-25"))


@pytest.mark.slow
def test_shares_are_compared_and_a_second_call_trains_nothing(tmp_path: Path) -> None:
    words = ["reproduce", "datasize", "--json", "--config", str(brief_config(tmp_path)), "--run", str(tmp_path / "r")]
    ran = slt_cache(*words)
    assert ran.code == 0, ran.err
    rows = json.loads(ran.out)["tables"]["datasize"]["rows"]
    assert [(row["variant"], row["model"]) for row in rows] == [(row.variant, row.model) for row in TABLE.rows]
    assert "test BLEU-4 over the share" in (tmp_path / "r" / "report.html").read_text(encoding="utf-8")
    for variant, share in (("fraction-0.25", 0.25), ("base", 1)):
        folder = tmp_path / "r" / "seed0" / variant
        for model in ("visual", "llm", "control"):
            record = read_record(folder / model / "best")
            assert record is not None and record.settings.get("corpus.fraction", 1) == share, model
    again = slt_cache(*words)
    assert again.code == 0 and "epoch" not in again.err, again.err
