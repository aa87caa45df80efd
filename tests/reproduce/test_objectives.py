"""Tables of the terms of stage 1's loss: what their rows differ in and share, what is said of them, their options."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from slt_cache.config import load_config
from slt_cache.errors import InputError
from slt_cache.metrics.registry import IN_PAPER
from slt_cache.metrics.seeds import MeanAndStd
from slt_cache.metrics.video_gap import GAP, LOW, SWAPPED
from slt_cache.reproduce.experiments import experiments
from slt_cache.reproduce.objectives import CLIPS, Bench, bench_of, variant_of
from slt_cache.reproduce.render import more_columns, more_text, table_text, to_json
from slt_cache.reproduce.results import Delta, RowResult, StageOne, TableResult
from slt_cache.reproduce.run_tables import request_of
from slt_cache.reproduce.tables import Row, Table
from slt_cache.reproduce.variants import folder_of, linked_artifacts, run_of
from slt_cache.runs.run import Run
from tests.helpers.commands import brief_config, slt_cache

RICH = load_config("avatar-rich")
ROOT = Path("r")


def run(variant: str, seed: int = 0) -> Run:
    return run_of(folder_of(ROOT, seed, variant, RICH), RICH)


def test_every_size_is_a_table_whose_rows_differ_in_the_loss_of_stage_1_alone() -> None:
    known = experiments(RICH)
    assert [name for name in known if name.startswith("objectives")] == [f"objectives-{clips}" for clips in CLIPS]
    for clips in CLIPS:
        rows = known[f"objectives-{clips}"].rows
        runs = [run(row.variant) for row in rows]
        assert [one.config.visual_training.objective[1:] for one in runs] == [
            (),
            ("contrastive",),
            ("cico",),
            ("signcl",),
            ("denoising",),
            ("contrastive", "denoising"),
        ]
        assert len({one.folder for one in runs}) == len(runs)
        plain = runs[0].config.model_dump()
        assert plain["corpus"]["clips"] == clips
        for one in runs[1:]:
            own = one.config.model_dump()
            for section in own:
                if section != "visual_training":
                    assert own[section] == plain[section]
            changed = {key for key, value in own["visual_training"].items() if value != plain["visual_training"][key]}
            assert changed - {"keep_epochs"} == {"objective"}
    assert known["objectives-800"].rows[0].variant == "base"  # what the paper's tables train already


def test_sizes_share_neither_clips_nor_text_and_rows_of_one_size_share_both() -> None:
    small, other, base = (run(variant).config for variant in ("clips-100", "clips-200-with-cico", "base"))
    roots = [(one.corpus.root, one.video.frame_cache) for one in (small, other, base)]
    assert roots == [(f"r/corpus{size}", f"r/frames{size}") for size in ("-100", "-200", "")]
    for seed, variant, of_text in (
        (1, "clips-100-with-cico", f"seed{RICH.seed}/clips-100"),
        (1, "with-contrastive+denoising", f"seed{RICH.seed}/base"),
    ):
        place = folder_of(ROOT, seed, variant, RICH)
        linked = linked_artifacts(place)
        assert linked[run(variant, seed).tokenizer] == ROOT / of_text / run("base").tokenizer.name
        assert linked[run(variant, seed).pretrained / "best"].is_relative_to(ROOT / of_text)
        assert run(variant, seed).visual / "best" not in linked and run(variant, seed).features not in linked


def test_both_stages_and_stage_1_of_every_row_are_tested_and_each_llm_is_pretrained_once() -> None:
    request = request_of(["objectives"], "0,1", ROOT, "avatar-rich", [], clips="400", objectives="signcl")
    names = [step.name for step in request.steps]
    for seed in (0, 1):
        for variant in ("clips-400", "clips-400-with-signcl"):
            found = [name.partition(": ")[2] for name in names if name.startswith(f"seed {seed}, {variant}: ")]
            tested = ["test of stage 2", "test of Light-T baseline", "test of stage 1"]
            assert [name for name in found if name.startswith("test")] == tested
            assert {"stage 1", "stage 2", "features of every clip"} <= set(found)
    assert [name for name in names if "pre-training" in name] == [f"seed {RICH.seed}, clips-400: pre-training"]
    assert len(names) == len(set(names))


def test_the_methods_share_the_corpus_with_the_table_of_its_size() -> None:
    table = experiments(RICH, Bench(mixes=(("cico", "signcl"),)))["methods"]
    assert {row.label: row.variant for row in table.rows} == {
        "FLa-LLM": "base",
        "GFSLT-VLP": "with-contrastive+denoising",
        "SignCL": "with-signcl",
        "GFSLT-VLP with SignCL": "with-contrastive+denoising+signcl",
        "own mix: with cico, signcl": "with-cico+signcl",
    }
    ours = experiments(RICH)["objectives-800"].rows[-1]
    assert ours.variant == table.rows[1].variant


def test_a_run_with_another_loss_keeps_it_as_the_row_of_its_own_settings() -> None:
    settings = ["visual_training.objective=signcl", "visual_training.objective_weights.signcl=0.1"]
    config = load_config("avatar-rich", settings)
    assert variant_of(config, 800, ("signcl",)) == "base"
    assert variant_of(config, 400, ()) == "clips-400-with-cross-entropy"
    alone, both = (
        run_of(folder_of(ROOT, 0, variant, config), config).config.visual_training
        for variant in ("with-cross-entropy", "with-cico+signcl")
    )
    assert alone.objective == ("cross-entropy",) and alone.objective_weights == {}
    assert both.objective_weights == {"signcl": 0.1}


def test_a_corpus_that_is_not_drawn_has_one_size() -> None:
    tables = experiments(load_config("phoenix14t"))
    assert [name for name in tables if name.startswith("objectives")] == ["objectives"]
    assert tables["objectives"].rows[0].variant == "base"


@pytest.mark.parametrize(
    ("clips", "objectives", "names", "said"),
    [
        ("many", None, ["objectives"], "--clips many"),
        ("5", None, ["objectives"], "at least 20 clips"),
        (None, "signcl,nothing", ["methods"], "'nothing' is no objective. Use cross-entropy, contrastive"),
        ("100", None, ["methods", "table4"], "--clips 100: only for the objectives tables"),
        (None, "signcl", ["llms"], "--objectives signcl: only for the objectives and methods tables"),
    ],
)
def test_invalid_choices_are_refused(clips: str | None, objectives: str | None, names: list[str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        request_of(names, "0", ROOT, "avatar-rich", [], clips=clips, objectives=objectives)


def test_a_choice_is_read_once_in_one_order_and_named_in_the_command() -> None:
    bench = bench_of("400,100,400", "signcl+contrastive,contrastive+signcl,cross-entropy,cico", ["objectives"])
    assert bench == Bench((400, 100), (("contrastive", "signcl"), ("cico",)))
    assert bench.words == ["--clips", "400,100", "--objectives", "contrastive+signcl,cico"]
    assert bench_of(None, None, ["table4"]).words == []


def result_of_rows(dev: list[float], gaps: list[dict[str, MeanAndStd]]) -> TableResult:
    rows = []
    for place, score in enumerate(dev):
        deltas = () if place == 0 else (Delta(2.5, 0.01), Delta(1.5, 0.2))
        stage_1 = StageOne(
            MeanAndStd((6.0, 7.0)),
            tuple(replace(one, value=-one.value) for one in deltas),
            gaps[place],
            (6, None),
            MeanAndStd((60.0, 80.0)),
            MeanAndStd((score, score)),
        )
        scores = {key: MeanAndStd((8.0, 9.0)) for key in IN_PAPER}
        rows.append(RowResult(Row(f"row {place}", f"v{place}", "llm"), scores, None, (), deltas, None, None, stage_1))
    table = Table("objectives-400", "a title", "", tuple(one.row for one in rows), stage_1=True, asked="objectives")
    return TableResult(table, tuple(rows), 10, "a signature", "2026-11-25T10:00:00+00:00")


def test_a_row_is_chosen_on_dev_and_its_gain_on_test_is_told() -> None:
    gap = {GAP: MeanAndStd((0.5, 0.7)), SWAPPED: MeanAndStd((0.25, 0.25)), LOW: MeanAndStd((0.125, 0.0))}
    result = result_of_rows([8.0, 9.0, 9.0], [gap, gap, {}])
    text, values = table_text(result), to_json(result)
    assert (
        "chosen on dev: row 1 (dev BLEU-4 9.00 ± 0.00, +2.00 (p < 0.05 in 1 of 2) BLEU-4 against row 0 on test)" in text
    )
    assert values["chosen_on_dev"] == "v1"
    assert more_text(result.rows[1]) == [
        "6.50 ± 0.71",
        "-2.00 (p < 0.05 in 1 of 2)",
        "0.600 ± 0.141",
        "0.250 ± 0.000",
        "6, never",
        "70 s",
        "9.00 ± 0.00",
    ]
    assert more_text(result.rows[2])[2:5] == ["-", "-", "-"]  # too few dev clips to judge
    assert len(more_columns(result.table)) == 7 and all(name in text for name in more_columns(result.table))
    assert values["rows"][1]["stage_1"] == {
        "bleu4": [6.0, 7.0],
        "p": [0.01, 0.2],
        GAP: [0.5, 0.7],
        SWAPPED: [0.25, 0.25],
        LOW: [0.125, 0.0],
        "epoch_of_gap": [6, None],
        "seconds": [60.0, 80.0],
        "dev_bleu4": [9.0, 9.0],
    }


@pytest.mark.slow
def test_losses_are_compared_on_a_small_corpus_and_a_second_call_trains_nothing(tmp_path: Path) -> None:
    words = ["reproduce", "objectives", "--clips", "24,30", "--objectives", "signcl", "--json"]
    words += ["--config", str(brief_config(tmp_path)), "--run", str(tmp_path / "r")]
    ran = slt_cache(*words)
    assert ran.code == 0, ran.err
    tables = json.loads(ran.out)["tables"]
    assert list(tables) == ["objectives-24", "objectives-30"]
    for clips, variants in ((24, ("base", "with-signcl")), (30, ("clips-30", "clips-30-with-signcl"))):
        rows = tables[f"objectives-{clips}"]["rows"]
        assert tuple(row["variant"] for row in rows) == variants
        for row in rows:
            assert len(row["stage_1"]["bleu4"]) == len(row["stage_1"][GAP]) == 1 and row["stage_1"]["seconds"][0] > 0
        assert len(rows[1]["p"]) == len(rows[1]["stage_1"]["p"]) == 1
        assert "--clips 24,30 --objectives signcl" in tables[f"objectives-{clips}"]["text"]
    assert "objectives-30" in (tmp_path / "r" / "report.html").read_text(encoding="utf-8")
    again = slt_cache(*words)
    assert again.code == 0 and "(about" not in again.err and json.loads(again.out)["tables"] == tables
