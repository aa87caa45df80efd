"""`slt-cache compare`: groups of seeds, tests between them, what is refused, and what stands in a paper's table."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slt_cache.hashes import read_signed, write_signed
from slt_cache.metrics.scores import score
from tests.helpers.commands import Ran, slt_cache
from tests.helpers.scored_runs import IDS, REFERENCES, make_scored_run, spoilt, write_evaluation, write_selected

KEYS = ["bleu1", "bleu2", "bleu3", "bleu4", "chrf", "rouge_l", "rouge_l_beta12"]
BRIEF = ("--resamples", "40")


def scored(folder: Path, share: float, seed: int, *settings: str) -> Path:
    run = make_scored_run(folder, f"seed={seed}", *settings)
    write_evaluation(run, spoilt(share, seed))
    return run


def compared(*arguments: object) -> Any:
    ran = slt_cache("compare", *arguments, *BRIEF, "--json")
    assert ran.code == 0, ran.err
    return json.loads(ran.out)


def refused(*arguments: object) -> str:
    ran: Ran = slt_cache("compare", *arguments, *BRIEF)
    assert (ran.code, ran.out) == (2, ""), ran.out
    assert "Traceback" not in ran.err
    return ran.err


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seeds of a good configuration, two of a poor one."""
    folder = tmp_path_factory.mktemp("runs")
    for seed in range(3):
        scored(folder / f"good-{seed}", 0.1, seed, "compute.device=cpu" if seed else "compute.device=auto")
    for seed in (3, 4):
        scored(folder / f"poor-{seed}", 0.4, seed, "llm_training.lr=0.01")
    return folder


def test_seeds_of_one_configuration_are_one_group_with_mean_and_spread(runs: Path) -> None:
    found = compared(*sorted(runs.iterdir()))
    assert [(one["name"], one["seeds"]) for one in found["groups"]] == [("good-0", [0, 1, 2]), ("poor-3", [3, 4])]
    assert found["clips"] == len(IDS)
    values = [score(spoilt(0.1, seed), REFERENCES)["bleu4"].value for seed in range(3)]
    bleu4 = found["groups"][0]["scores"]["bleu4"]
    assert bleu4["values"] == pytest.approx(values, abs=0.005)
    assert bleu4["mean"] == pytest.approx(np.mean(values), abs=0.005)
    assert bleu4["sd"] == pytest.approx(np.std(values, ddof=1), abs=0.005)
    assert found["settings"] == {"llm_training.lr": ["0.0003", "0.01"]}


def test_both_tests_state_both_sides_and_find_a_clear_difference(runs: Path) -> None:
    found = compared(*sorted(runs.iterdir()))
    [test] = found["tests"]
    assert (test["group"], test["baseline"], test["differs"]) == ("poor-3", "good-0", True)
    assert list(test["metrics"]) == KEYS
    for one in test["metrics"].values():
        assert one["interval"][0] < one["difference"] < one["interval"][1] < 0
        assert not one["better"] and one["differs"]
        for kind in ("bootstrap", "randomization"):
            assert 0 < one[kind]["p_one_sided"] <= one[kind]["p_two_sided"] < 0.05
        assert one["d_over_seeds"] < -1
    effect = test["effect"]
    assert effect["d"] < -0.5 and effect["better"] < effect["worse"]
    assert effect["better"] + effect["equal"] + effect["worse"] == len(IDS)


def test_the_breakdown_covers_all_clips_and_words_and_shows_what_changed_most(runs: Path) -> None:
    [test] = compared(runs / "good-0", runs / "poor-3", "--sentences", "2")["tests"]
    assert sum(one["clips"] for one in test["by_length"]) == len(IDS)
    assert [one["from"] for one in test["by_length"]] == sorted(one["from"] for one in test["by_length"])
    assert sum(one["words"] for one in test["by_frequency"]) == sum(len(one.split()) for one in REFERENCES)
    for one in (*test["by_length"], *test["by_frequency"]):
        before, after = one.get("scores") or one["f1"]
        assert before > after
    gains = [one["chrf"][1] - one["chrf"][0] for one in test["changed"]]
    assert gains[0] >= gains[1] > 0 > gains[3] >= gains[2]
    worst = test["changed"][2]
    place = IDS.index(worst["id"])
    assert worst["reference"] == REFERENCES[place]
    assert worst["hypotheses"] == [spoilt(0.1, 0)[place], spoilt(0.4, 3)[place]]
    assert compared(runs / "good-0", runs / "poor-3", "--sentences", "0")["tests"][0]["changed"] == []


def test_two_seeds_of_one_run_do_not_differ(runs: Path) -> None:
    found = compared(runs / "good-0", runs / "good-1")
    assert [one["seeds"] for one in found["groups"]] == [[0, 1]]
    [test] = found["tests"]
    assert (test["baseline"], test["group"], test["differs"]) == ("good-0", "good-1", False)
    assert "good-1 against good-0: no difference beyond chance in BLEU-4" in said(runs / "good-0", runs / "good-1")


def said(*arguments: object) -> str:
    ran = slt_cache("compare", *arguments, *BRIEF)
    assert ran.code == 0, ran.err
    return ran.out


def test_both_stages_are_better_than_stage_1_of_the_same_run(tmp_path: Path) -> None:
    run = scored(tmp_path / "run", 0.05, 0)
    write_evaluation(run, spoilt(0.3, 1), "visual.test", "visual")
    for arguments in ((run,), (run, "--model", "visual", "--model", "llm")):
        found = compared(*arguments)
        assert [one["model"] for one in found["groups"]] == ["visual", "llm"]
        [test] = found["tests"]
        assert test["differs"] and test["metrics"]["bleu4"]["better"]
    assert "run, both stages against run, stage 1 alone: better in BLEU-4" in said(run)


def test_a_metric_on_request_decides_in_its_direction(runs: Path) -> None:
    found = compared(runs / "poor-3", runs / "good-0", "--metric", "ter")
    assert list(found["signatures"]) == [*KEYS, "ter"]
    [test] = found["tests"]
    assert test["metrics"]["ter"]["difference"] < 0 and test["metrics"]["ter"]["better"] and test["differs"]
    assert r"TER\,$\downarrow$" in said(runs / "poor-3", runs / "good-0", "--metric", "ter", "--latex")


def test_different_signatures_are_refused_and_the_difference_is_named(runs: Path, tmp_path: Path) -> None:
    other = make_scored_run(tmp_path / "other")
    write_evaluation(other, spoilt(0.2, 0), preset="phoenix14t")
    words = refused(runs / "good-0", other)
    assert "tok is 13a and none (BLEU-1, BLEU-2, BLEU-3, BLEU-4)" in words
    assert "units is words and blanks (ROUGE-L F1, ROUGE-L F1.2)" in words
    path = write_evaluation(other, spoilt(0.2, 0))
    saved = read_signed(path)
    saved["signatures"] = {key: f"{one}|lc:yes" for key, one in saved["signatures"].items()}
    write_signed(path, saved)
    assert "lc is not there and yes (BLEU-1, BLEU-2" in refused(runs / "good-0", other)


def test_an_interval_is_no_other_way_to_score(runs: Path, tmp_path: Path) -> None:
    other = make_scored_run(tmp_path / "other", "seed=7")
    path = write_evaluation(other, spoilt(0.1, 7), bootstrap=40)
    assert "bs:40|seed:12345" in read_signed(path)["signatures"]["bleu4"]
    assert not compared(runs / "good-0", other)["tests"][0]["differs"]


def test_other_clips_and_other_references_are_refused(runs: Path, tmp_path: Path) -> None:
    other = make_scored_run(tmp_path / "other")
    write_evaluation(other, spoilt(0.2, 0), ids=["new", *IDS[1:]])
    assert "1 of its 60 clips are not in" in (words := refused(runs / "good-0", other)) and "'clip-0'" in words
    write_evaluation(other, spoilt(0.2, 0), references=["heute", *REFERENCES[1:]])
    assert "1 references differ, such as that of 'clip-0'" in refused(runs / "good-0", other)


def test_what_was_not_scored_or_is_no_longer_there_is_refused_with_what_to_do(runs: Path, tmp_path: Path) -> None:
    good = runs / "good-0"
    assert "no such run folder" in refused(good, runs / "nowhere")
    assert "llm was not scored on dev. Score it: slt-cache eval --split dev" in refused(
        good, runs / "good-1", "--split", "dev"
    )
    assert "control was not scored on test (only llm)" in refused(good, runs / "good-1", "--model", "control")
    assert "only both stages was scored on test" in refused(good)
    assert "no such model. Use visual, llm" in refused(good, good, "--model", "nothing")
    assert "'tset' is not one of train, dev, test" in refused(good, good, "--split", "tset")
    assert "--metric nothing: no such metric. Use bleu1" in refused(good, good, "--metric", "nothing")
    ran = slt_cache("compare", good, good, "--resamples", "3")
    assert (ran.code, ran.err) == (2, "error: --resamples 3: use 40 to 10000, such as 1000.\n")
    edited = scored(tmp_path / "edited", 0.2, 0)
    table = edited / "eval" / "test.tsv"
    table.write_text(table.read_text().replace("heute", "morgen"))
    assert "not the sentences scored in test.json" in refused(good, edited)
    table.unlink()
    assert "the scored sentences are gone" in refused(good, edited)
    (edited / "eval" / "test.json").write_text("{}")
    assert "test.json: damaged or edited" in refused(good, edited)


def test_a_file_of_scores_with_other_settings_can_be_compared(tmp_path: Path) -> None:
    run = scored(tmp_path / "run", 0.1, 0)
    other = write_evaluation(run, spoilt(0.4, 1), "test.num_beams-1", settings={"generation.num_beams": 1})
    found = compared(run, other)
    assert compared(run, other.with_suffix(".tsv")) == found
    assert [len(one["runs"]) for one in found["groups"]] == [1, 1]
    assert found["tests"][0]["differs"]
    assert len({one["name"] for one in found["groups"]}) == 2
    dev = write_evaluation(run, spoilt(0.1, 0), "dev")
    assert "scores of dev, not of test" in refused(run, dev)


def test_the_latex_table_has_its_signatures_and_marks_in_the_footnote(runs: Path, tmp_path: Path) -> None:
    odd = scored(tmp_path / "[a]_b&c%", 0.4, 5, "llm_training.lr=0.02")
    write_selected(odd)
    make_scored_run(odd, "llm_training.lr=0.02", videos={"dev-0": "clip-3.mp4"})
    text = said(*sorted(runs.glob("good-*")), odd, "--latex")
    table, footnote = text.split(r"\end{tabular}")
    rows = [line for line in table.splitlines() if line.endswith(r"\\")]
    assert [line.count(" & ") for line in rows] == [1 + len(KEYS)] * 3
    assert rows[1].startswith("good-0 & 3 & ") and r"\,$\pm$\," in rows[1]
    assert rows[2].startswith(r"{[}a]\_b\&c\%\textsuperscript{\ddag} & 1 & ") and r"\textsuperscript{\dag}" in rows[2]
    assert r"nrefs:1|\allowbreak case:mixed|\allowbreak eff:no|\allowbreak tok:13a" in footnote
    assert r"\textsuperscript{\ddag}" in footnote and "choices made on test" in footnote
    assert "two-sided p $<$ 0.05 by paired bootstrap and by approximate randomization" in footnote
    assert not re.search(r"(?<!\\)[_&#%]", footnote)


def test_the_markdown_table_has_its_signatures_in_the_footnote(runs: Path) -> None:
    text = said(runs / "good-0", runs / "poor-3", "--markdown")
    table, footnote = text.split("\n\n", 1)
    lines = table.splitlines()
    assert [line.count("|") for line in lines] == [3 + len(KEYS)] * 4
    assert lines[3].startswith("| poor-3 | 1 | ") and "†" in lines[3]
    for key, one in compared(runs / "good-0", runs / "poor-3")["signatures"].items():
        assert f"`{one}`" in footnote, key
    both = compared(runs / "good-0", runs / "poor-3", "--latex", "--markdown")
    assert both["markdown"] + "\n" == text and both["latex"].startswith(r"\begin{tabular}")


def test_notes_say_what_makes_a_comparison_doubtful(runs: Path, tmp_path: Path) -> None:
    few = slice(0, 8)
    for name, seed in (("a", 0), ("b", 0)):
        run = make_scored_run(tmp_path / name)
        write_evaluation(run, spoilt(0.1, seed)[few], "dev", references=REFERENCES[few], ids=IDS[few])
    notes = compared(tmp_path / "a", tmp_path / "b", "--split", "dev")["notes"]
    assert notes[0] == "fewer than 30 clips: a sentence or two decide"
    assert notes[1].startswith("scores of dev, which is not for comparing")
    assert notes[2].startswith("a: several runs have the same seed")
    path = write_evaluation(tmp_path / "a", spoilt(0.1, 0))
    saved = read_signed(path)
    saved["scores"]["bleu4"] += 1
    write_signed(path, saved)
    [note] = [one for one in compared(tmp_path / "a", runs / "good-1")["notes"] if "the saved scores" in one]
    assert re.search(r"BLEU-4 [\d.]+, now [\d.]+\)$", note)


@pytest.mark.slow
def test_two_seeds_rarely_differ_in_permutation_splits_and_both_stages_from_stage_1(tmp_path: Path) -> None:
    """Sentences of two equally good seeds are dealt out between two runs at random, 60 times, and compared. At a level
    of 0.05 three of these are expected to differ, and with a probability of 0.003 more than eight."""
    pair, random, differ = (spoilt(0.3, 0), spoilt(0.3, 1)), np.random.default_rng(0), 0
    runs = [make_scored_run(tmp_path / f"seed-{seed}", f"seed={seed}") for seed in (0, 1)]
    for _ in range(60):
        swapped = random.integers(2, size=len(IDS)).tolist()
        for place, run in enumerate(runs):
            texts = [pair[place ^ swap][clip] for clip, swap in enumerate(swapped)]
            write_evaluation(run, texts)
        [test] = json.loads(slt_cache("compare", *runs, "--resamples", "300", "--json").out)["tests"]
        differ += test["differs"]
    assert differ <= 8
    write_evaluation(runs[0], spoilt(0.45, 2), "visual.test", "visual")
    assert json.loads(slt_cache("compare", runs[0], "--json").out)["tests"][0]["differs"]
