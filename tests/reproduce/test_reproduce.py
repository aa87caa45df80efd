"""The paper's tables by one command: what is planned, shared, done once, killed and gone on with, and told."""

import hashlib
import json
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from slt_cache import __version__
from slt_cache.checkpoints.record import read_record
from slt_cache.config import load_config
from slt_cache.corpora.avatar.plan import plan_avatar
from slt_cache.corpora.base import Clip
from slt_cache.corpora.manifest import write_manifest
from slt_cache.errors import InputError
from slt_cache.metrics.seeds import MeanAndStd
from slt_cache.reproduce import html as page_module
from slt_cache.reproduce import run_tables as run_module
from slt_cache.reproduce.norms import norms_of
from slt_cache.reproduce.planning import estimate, plan
from slt_cache.reproduce.render import norms_text, table_text, to_json, verdict
from slt_cache.reproduce.results import Costs, Delta, RowResult, TableResult
from slt_cache.reproduce.run_tables import request_of
from slt_cache.reproduce.tables import Row, Table, tables
from slt_cache.reproduce.variants import folder_of, link_artifacts, run_of, settings_of
from tests.helpers.commands import brief_config, slt_cache

TINY = str(Path(__file__).parents[1] / "helpers" / "tiny.yaml")
RICH = load_config("avatar-rich")


def names_of(*tables_: str, seeds: tuple[int, ...] = (0,)) -> list[str]:
    known = tables(RICH)
    return [step.name for step in plan([known[name] for name in tables_], seeds, Path("r"), RICH)]


def test_every_number_of_the_papers_tables_is_there() -> None:
    """(Chen et al. 2024, tables 4 to 10)"""
    known = tables(RICH)
    found = {name: {row.bleu4 for row in table.rows} for name, table in known.items()}
    assert found["table4"] == {23.09, 12.90}
    assert found["table5"] == {23.09, 17.69, 5.62}
    assert found["table6"] == {22.96, 23.04, 23.09, 20.02}
    assert found["table7"] == {22.52, 22.36, 23.09, 22.49}
    assert found["table8"] == {20.30, 23.09, 22.60}
    assert found["table9"] == {17.86, 20.40, 23.09}
    assert found["table10"] == {16.19, 23.09, 7.39, 19.71}


def test_one_encoder_serves_tables_5_8_9_and_10() -> None:
    names = names_of("table5", "table8", "table9", "table10", "fig4")
    assert [name for name in names if name.endswith(": stage 1")] == ["seed 0, base: stage 1"]
    assert len(names) == len(set(names))


def test_the_llm_learns_from_text_once_whichever_seeds_are_asked_for() -> None:
    for seeds in ((3, 1), (0, 1), (1,)):
        names = names_of("table4", "table10", seeds=seeds)
        assert [name for name in names if "pre-training" in name] == [
            f"seed {RICH.seed}, base: pre-training",
            f"seed {RICH.seed}, mt5: pre-training",
        ]
        assert "seed 1, mt5: stage 2" in names


def test_every_cache_that_a_score_is_of_has_one_light_t_baseline() -> None:
    known = tables(RICH)
    steps = plan(known.values(), (0,), Path("r"), RICH)
    caches = {step.place for step in steps if step.action == "features"}
    for action in ("baseline", "test"):
        found = [step.place for step in steps if (step.action, step.model) == (action, "control")]
        assert len(found) == len(set(found))
        assert set(found) == caches
    from_scratch = replace(known["table10"], rows=known["table10"].rows[1:2])
    assert any(step.action == "baseline" for step in plan([from_scratch], (0,), Path("r"), RICH))


def test_variants_differ_from_the_run_in_what_their_table_is_about() -> None:
    def changed(variant: str, model: str = "llm") -> dict[str, object]:
        base = settings_of(folder_of(Path("r"), 0, "base", RICH), RICH)
        return {
            key: value
            for key, value in settings_of(folder_of(Path("r"), 0, variant, RICH), RICH, model).items()
            if base.get(key) != value and key != "visual_training.keep_epochs"
        }

    assert changed("keep-0.5") == {"video.keep_rate": 0.5}
    assert changed("light-t-small") == {"light_t.size": "small"}
    assert changed("hidden") == {"features.level": "hidden"}
    assert changed("mt5") == {"llm.name": "small-mt5"}
    assert changed("epoch-6") == {}
    assert changed("base", "llm-unfreeze-all") == {"llm_training.unfreeze": "all"}
    both = RICH.visual_training.epochs + RICH.llm_training.epochs
    assert changed("base", "joint") == {"llm_training.epochs": both}
    assert changed("base", "joint-temporal") == {"llm_training.epochs": both, "llm_training.unfreeze": "temporal"}


@pytest.mark.parametrize("config", ["avatar", "avatar-rich", "phoenix14t", "csl_daily", "how2sign"])
def test_every_config_can_be_planned(config: str) -> None:
    request = request_of(["all"], "0", Path("nowhere"), config, [])
    for step in request.steps:
        run_of(step.place, request.config, step.model)  # settings that do not go together would be refused


def test_what_is_taken_over_is_linked_and_stays_where_it_was(tmp_path: Path) -> None:
    base, frame = (folder_of(tmp_path, 0, variant, RICH) for variant in ("base", "frame"))
    weights = base.folder / "visual" / "best" / "encoder.safetensors"
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"weights")
    link_artifacts(frame)
    taken = frame.folder / "visual" / "best" / "encoder.safetensors"
    assert taken.samefile(weights)
    link_artifacts(frame)
    assert not list(tmp_path.rglob("*.tmp"))


def result(ours: list[float], papers: list[float | None], p: float = 0.01, last: float | None = None) -> TableResult:
    """Of two seeds; `last` is the second seed's difference from row 0, where it is not that of the means."""
    rows = tuple(Row(f"row {index}", "base", "llm", bleu4) for index, bleu4 in enumerate(papers))
    found = tuple(
        RowResult(
            row,
            {key: MeanAndStd((value, value + 1)) for key in ("bleu1", "bleu2", "bleu3", "bleu4", "rouge_l_beta12")},
            MeanAndStd((value - 5, value - 3)) if index == 0 else None,
            (Delta(5.0, 0.2), Delta(4.0, 0.01)) if index == 0 else (),
            () if index == 0 else (Delta(value - ours[0], p), Delta(value - ours[0] if last is None else last, 0.01)),
            None,
        )
        for index, (row, value) in enumerate(zip(rows, ours, strict=True))
    )
    return TableResult(
        Table("table4", "a title", "A finding.", rows), found, 10, "a signature", "2026-11-25T10:00:00+00:00"
    )


def test_the_order_of_the_rows_is_compared_pair_by_pair() -> None:
    assert (result([30, 20, 10], [23, 20, 6]).agreeing, result([30, 20, 10], [23, 20, 6]).pairs) == (3, 3)
    other = result([10, 20, 15], [23, 20, 6])
    assert (other.agreeing, other.pairs) == (1, 3)
    assert "another order by BLEU-4, 1 of 3 pairs of rows agree: row 1 > row 2 > row 0" in "\n".join(verdict(other))


def test_a_difference_that_may_be_chance_is_named() -> None:
    assert "not for every seed significantly different from row 0: row 1" in "\n".join(
        verdict(result([30, 29], [23, 12], p=0.3))
    )
    assert "significantly" not in "\n".join(verdict(result([30, 20], [23, 12])))


def test_a_difference_to_the_other_side_is_no_confirmation() -> None:
    shown = verdict(result([30, 40], [23, 12], last=-3.0))
    assert "not for every seed significantly different from row 0: row 1" in "\n".join(shown)


def test_what_the_llm_is_worth_is_told_against_the_light_t_baseline() -> None:
    assert verdict(result([30, 20], [23, 12]))[-1] == "against the Light-T baseline: row 0 +4.50 (p < 0.05 in 1 of 2)"


def test_rows_without_a_figure_of_the_papers_are_not_compared() -> None:
    told = "\n".join(verdict(result([30, 29], [None, None], p=0.3)))
    assert "no order, as no difference of BLEU-4 between these rows is more than chance" in told
    assert "not for every seed significantly different from row 0: row 1" in told

    told = "\n".join(verdict(result([30, 20], [None, None])))
    assert "gives no numbers to compare the order of these rows with: row 0 > row 1" in told


CLAIMS = ("same order", "another order", " > ", "agree", "holds")


@pytest.mark.parametrize(("ours", "p"), [([0, 0, 0], 1.0), ([20, 20, 20], 1.0), ([20, 20.4, 19.8], 0.4)])
def test_no_order_is_claimed_of_scores_that_are_0_or_equal_or_within_noise(ours: list[float], p: float) -> None:
    rows = [
        replace(one, scores={key: MeanAndStd((spread.values[0],)) for key, spread in one.scores.items()})
        for one in result(ours, [23, 20, 6]).rows
    ]
    between = {(first, second): (Delta(ours[first] - ours[second], p),) for first, second in ((0, 1), (0, 2), (1, 2))}
    rows = [replace(one, against=between.get((0, place), ())) for place, one in enumerate(rows)]
    found = replace(result(ours, [23, 20, 6]), rows=tuple(rows), between=between)
    told = next(line for line in verdict(found) if line.startswith("here: "))
    assert told.startswith("here: no order, as ")
    assert not any(claim in told for claim in CLAIMS)
    assert ("every row scores 0" in told) == (not any(ours))
    assert (found.agreeing, found.undecided, found.pairs) == (0, 3, 3)


def test_pairs_that_may_be_chance_are_counted_apart_from_those_that_agree_and_that_do_not() -> None:
    found = result([30, 20, 19], [23, 6, 20])
    both = (Delta(10.0, 0.01), Delta(10.0, 0.01))
    unclear = replace(found, between={(0, 1): both, (0, 2): both, (1, 2): (Delta(1.0, 0.3), Delta(1.0, 0.01))})
    assert (
        "of 3 pairs of rows 2 agree with the paper by BLEU-4, 0 disagree, and 1 may be chance: row 0 > row 1 ≈ row 2"
        in "\n".join(verdict(unclear))
    )
    clear = replace(found, between={(0, 1): both, (0, 2): both, (1, 2): both})
    assert "another order by BLEU-4, 2 of 3 pairs of rows agree: row 0 > row 1 > row 2" in "\n".join(verdict(clear))


def test_the_plan_counts_the_clips_that_are_there_and_not_the_published_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("slt_cache.estimates.rates.DeviceRates._timed", lambda self, work: 1.0)

    def said(root: Path) -> str:
        estimate(plan([tables(paper)["table5"]], (0,), root, paper), paper)
        return capsys.readouterr().err

    paper = load_config("phoenix14t", ["video.size=32", "video.resize=36", "llm.name=small-mbart"])
    assert "estimates for 7,096 train, 519 dev, 642 test clips, as published: corpus.root is not set" in said(tmp_path)
    clips = [
        Clip(f"c{n}", split, tmp_path / "gone.mp4", None, None, "es regnet")
        for n, split in enumerate(["train", "train", "test"])
    ]
    manifest = tmp_path / "seed0" / "base" / "manifest.tsv"
    write_manifest(manifest, clips)
    assert f"estimates for 2 train, 0 dev, 1 test clips, as in {manifest}" in said(tmp_path)


def test_results_are_saved_before_the_page_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    request = request_of(["fig2"], "0", tmp_path / "r", TINY, [])

    def fail(*_: object) -> None:
        raise InputError("no page today")

    monkeypatch.setattr(run_module, "do_all", lambda *_: None)
    monkeypatch.setattr(run_module, "write_page", fail)
    with pytest.raises(InputError, match="no page today"):
        run_module.reproduce(request, {})
    assert json.loads((tmp_path / "r" / "reproduce.json").read_text(encoding="utf-8"))["tables"].keys() == {"fig2"}


def test_every_model_of_the_page_has_a_colour_of_its_own_and_the_same_in_all_tables() -> None:
    known = tables(RICH)
    results = [
        replace(
            result([30], [23]),
            table=table,
            rows=tuple(replace(result([30], [23]).rows[0], row=row) for row in table.rows),
        )
        for table in known.values()
    ]
    colours = page_module._colours(results)
    assert len(set(colours.values())) == len(colours) > 8
    assert (colours["base", "visual"], colours["base", "llm"]) == (0, 1)  # as in the report of a run
    table8 = page_module._colours([found for found in results if found.table.name == "table8"])
    assert len({colour % 8 for colour in table8.values()}) == len(table8) == 3


def test_a_table_shows_mean_and_spread_beside_the_papers_figures() -> None:
    text = table_text(result([30, 20], [23.09, 12.9]))
    assert "20.50 ± 0.71" in text
    assert "12.90" in text
    assert "-10.00 (p < 0.05 in 2 of 2)" in text


def test_costs_of_trainings_are_columns_and_a_dash_if_an_earlier_version_trained() -> None:
    made = result([30, 20], [None, None])
    seconds = MeanAndStd((1000.0, 2000.0))
    costs = (
        Costs(seconds, MeanAndStd((2.0, 3.0)), {"trained": 3_500_000, "all": 104_000_000}),
        Costs(seconds, None, {}),
    )
    rows = tuple(replace(row, costs=one) for row, one in zip(made.rows, costs, strict=True))
    priced = replace(made, table=replace(made.table, costs=True), rows=rows)
    lines = table_text(priced).splitlines()
    assert [line.split("  ")[-1].strip() for line in lines[1:4]] == [
        "trained parameters",
        "3.50 M of 104.00 M",
        "-",
    ]
    assert lines[2].endswith("1,500 s      2.50 GB    3.50 M of 104.00 M")
    assert len({len(line) for line in lines[1:4]}) == 1
    assert "costs" not in to_json(made)["rows"][0]
    assert to_json(priced)["rows"][0]["costs"]["memory_gigabytes"] == [2.0, 3.0]
    assert to_json(priced)["rows"][1]["costs"] == {
        "seconds": [1000.0, 2000.0],
        "memory_gigabytes": None,
        "parameters": {},
    }


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["table99"], "table99: no such table. Use table4"),
        (["table4", "--seeds", "one"], "--seeds one: write whole numbers"),
        (["table4", "--seeds", "-1"], "--seeds -1: seeds must not be negative"),
        (["table4", "--set", "features.level=frame"], "table 8 compares the levels"),
    ],
)
def test_bad_input_is_refused_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = slt_cache("reproduce", *words)
    assert done.code == 2
    assert message in done.err
    assert not list(tmp_path.iterdir())


def test_a_plan_says_that_its_llm_is_not_at_hand(tmp_path: Path, one_second_each: None) -> None:
    words = ("--config", TINY, "--run", tmp_path / "r", "--set", "llm.name=org/nonsense", "--set", "llm.language=de_DE")
    planned = slt_cache("reproduce", "table4", *words, "--dry-run")
    assert planned.code == 0, planned.err
    assert "not at hand, so only the plan can be made: llm.name org/nonsense: neither a model folder" in planned.err


def test_tables_are_made_once_and_other_settings_refused(tmp_path: Path, one_second_each: None) -> None:
    config = brief_config(tmp_path)
    words = ("reproduce", "table8", "--config", config, "--run", tmp_path / "r")
    steps = json.loads(slt_cache(*words, "--dry-run", "--json").out)["steps"]
    assert all(step["seconds"] >= 0 for step in steps)
    done = slt_cache(*words, "--json")
    assert done.code == 0, done.err
    assert "Undefined" not in done.err
    found = json.loads(done.out)["tables"]
    rows = found["table8"]["rows"]
    assert [row["variant"] for row in rows] == ["base", "frame", "hidden"]
    assert all(len(row["scores"]["bleu4"]) == len(row["control_bleu4"]) == len(row["control_p"]) == 1 for row in rows)
    settings = hashlib.sha256((tmp_path / "r" / "config.yaml").read_bytes()).hexdigest()
    base = tmp_path / "r" / "seed0" / "base"
    last = max(read_record(path.parent).finished_at for path in (tmp_path / "r").rglob("best/record.json"))  # type: ignore[union-attr]
    made = (
        f"made by: slt-cache reproduce table8 --seeds 0 --config {config} "
        f"(slt-cache {__version__}, config.yaml {settings[:12]}, {last[:10]})"
    )
    assert made in found["table8"]["text"]
    assert made in (tmp_path / "r" / "report.html").read_text(encoding="utf-8")
    assert found["table8"]["trained"] == last
    brief = load_config(str(config))
    anew = brief.visual_training.epochs + brief.llm_training.epochs
    for variant, epochs in {"base": brief.llm_training.epochs, "frame": anew, "hidden": anew}.items():
        control = read_record(tmp_path / "r" / "seed0" / variant / "control" / "best")
        assert control is not None and control.epochs == epochs, variant
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "r").rglob("model.safetensors")}
    assert len(before) > 6
    again = slt_cache("reproduce", "table8", "--run", tmp_path / "r", "--json")  # the config is known by now
    assert json.loads(again.out) == json.loads(done.out)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "r").rglob("model.safetensors")} == before
    shutil.rmtree(base / "control")
    trained = slt_cache(*words).err  # and its test, which was of other weights
    assert "[1 of 2] seed 0, base: Light-T baseline" in trained
    refused = slt_cache(*words, "--set", "llm_training.epochs=3")
    assert refused.code == 2
    assert "llm_training.epochs: made with 1, asked for 3" in refused.err


def test_the_estimate_counts_the_updates_and_not_the_clips_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every measurement says one second, so that what is left is arithmetic."""
    monkeypatch.setattr("slt_cache.estimates.rates.DeviceRates._timed", lambda self, work: 1.0)

    def seconds(batch_size: int) -> dict[str, float]:
        config = load_config(
            TINY, [f"{stage}.batch_size={batch_size}" for stage in ("visual_training", "llm_training")]
        )
        steps = plan([tables(config)["table5"]], (0,), tmp_path, config)
        return {step.name: taken for step, taken in estimate(steps, config).items()}

    tiny = load_config(TINY)
    clips = sum(clip.split == "train" for clip in plan_avatar(tiny.corpus).clips)
    more_updates = clips * (1 / 2 - 1 / 8)
    few, many = seconds(8), seconds(2)
    grown = {name: many[name] - taken for name, taken in few.items()}
    # Stage 1 updates encoder and Light-T, stage 2 and the Light-T baseline one of them.
    assert grown["seed 0, base: stage 1"] == pytest.approx(tiny.visual_training.epochs * more_updates * 2)
    assert grown["seed 0, base: stage 2"] == pytest.approx(tiny.llm_training.epochs * more_updates)
    assert grown["seed 0, base: Light-T baseline"] == pytest.approx(tiny.llm_training.epochs * more_updates)
    assert grown["seed 0, base: pre-training"] == 0


def test_figure_2_is_the_norms_of_every_logged_update_of_every_seed(tmp_path: Path) -> None:
    for seed in (0, 1):
        log = tmp_path / f"seed{seed}" / "base" / "joint" / "metrics.jsonl"
        log.parent.mkdir(parents=True)
        steps = [
            {"kind": "step", "step": step, "grad_norm/encoder": 1.0, "grad_norm/translator": 0.5 + seed + step}
            | {"param_norm/encoder": 3.0, "param_norm/translator": 9.0}
            for step in range(2)
        ]
        log.write_text(
            "".join(json.dumps(line) + "\n" for line in [*steps, {"kind": "epoch", "epoch": 1}]), encoding="utf-8"
        )
    (gradient, parameter), _ = norms_of((0, 1), tmp_path, RICH)
    assert (gradient.kind, gradient.encoder, gradient.llm, gradient.llm_larger, gradient.steps) == (
        "gradient",
        1.0,
        1.5,
        0.75,
        4,
    )
    assert (parameter.kind, parameter.llm_larger) == ("parameter", 1.0)
    assert "larger in 75% of 4 updates" in norms_text([gradient], "A finding.")
    assert "no norms were logged" in norms_text([], "A finding.")


@pytest.mark.slow
def test_killed_in_the_middle_it_goes_on_and_ends_with_the_same_scores(tmp_path: Path) -> None:
    """Every table but the 7th, whose largest Light-T takes minutes; killed at five places."""
    names = ["table4", "table5", "table6", "table8", "table9", "table10", "fig2", "fig4"]
    words = [sys.executable, "-m", "slt_cache", "reproduce", *names, "--config", TINY, "--json"]
    whole = subprocess.run([*words, "--run", tmp_path / "whole"], capture_output=True, text=True, check=True)
    for place in ("keep-1: stage 1", "hidden: features", "joint", "mt5: pre-training", "epoch-1: stage 2"):
        running = subprocess.Popen([*words, "--run", tmp_path / "killed"], stderr=subprocess.PIPE, text=True)
        assert running.stderr is not None
        for line in running.stderr:
            if line.startswith("[") and place in line:
                time.sleep(2)
                running.kill()
                break
        running.communicate()
    again = subprocess.run([*words, "--run", tmp_path / "killed"], capture_output=True, text=True, check=True)
    for name, table in json.loads(whole.stdout)["tables"].items():
        if name != "fig2":
            for row, other in zip(table["rows"], json.loads(again.stdout)["tables"][name]["rows"], strict=True):
                assert row["scores"] == other["scores"], (name, row["label"])


def test_seeds_are_checked_for_repeats() -> None:
    assert request_of(["table4"], "1,1,0", Path("nowhere"), "avatar-rich", []).seeds == (1, 0)
    with pytest.raises(InputError):
        request_of(["table4"], "", Path("nowhere"), "avatar-rich", [])
