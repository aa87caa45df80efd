"""The report page of a run: what it shows, what it leaves out and says so, and that texts stay texts."""

import html
import json
import re
import shlex
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from slt_cache.checkpoints.record import Record, write_record
from slt_cache.config import load_config
from slt_cache.errors import InputError
from slt_cache.files import write_text
from slt_cache.hashes import file_sha256, write_signed
from slt_cache.report import write_report
from slt_cache.runs.run import Run
from tests.helpers.commands import Ran, slt_cache
from tests.helpers.report_runs import SCORES, SENTENCES, STEPS, add_model_and_cache, evaluate, make_run, page_of, train

WORDS = ["heute", "regnet", "es", "im", "norden"]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return make_run(tmp_path / "little")


class Elements(HTMLParser):
    """Every element with its attributes, and the elements that are open at the end."""

    VOID = frozenset({"meta", "link", "img", "br", "input"})

    def __init__(self, page: str):
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_says_what_was_run(run: Run) -> None:
    page = page_of(run)
    assert run.report.is_file()
    assert Elements(page).open == []
    for text in ("little", "German", "drawn stand-ins and not sign language", "both stages (LLM from the cache)"):
        assert text in page


MANY = [*SENTENCES, *((f"c{number}", "ein satz hier", "ein satz da") for number in range(30))]
BAD = [(clip_id, reference, "ganz anders") for clip_id, reference, _ in MANY]
LOWER = {key: value - 20 for key, value in SCORES.items()}


def evaluate_both(run: Run, visual: list[tuple[str, str, str]] = BAD, llm: list[tuple[str, str, str]] = MANY) -> None:
    evaluate(run, "llm", "test", SCORES, llm)
    evaluate(run, "visual", "visual.test", LOWER, visual)


def test_the_scores_are_those_of_the_evaluation_and_the_best_is_emphasised(run: Run) -> None:
    evaluate_both(run)
    page = page_of(run)
    for value in SCORES.values():
        assert re.search(rf'class="best">{value:.2f}</td>', page)
        assert re.search(rf'data-label="[^"]*">{value - 20:.2f}</td>', page)


def test_the_lowest_ter_is_the_best_and_a_higher_one_is_worse(run: Run) -> None:
    evaluate(run, "llm", "test", {**SCORES, "ter": 31.5}, MANY)
    evaluate(run, "visual", "visual.test", {**LOWER, "ter": 97.5}, BAD)
    page = page_of(run)
    assert 'data-label="TER" class="best">31.50' in page and 'data-label="TER">97.50' in page
    assert "lower for TER" in page
    tested = re.search(r'data-label="TER">97.50\s*<small class="(\w+)".*?>([+−])', page)
    assert tested is not None and tested.groups() == ("worse", "+")


def test_dev_is_drawn_in_the_metric_that_selected_the_weights(run: Run) -> None:
    by_ter = Record("visual", {"visual_training": {"select_by": "ter"}}, best_epoch=2, dev={"bleu4": 1.0, "ter": 70.0})
    write_record(run.visual / "best", by_ter.finish(2, 10.0))
    lines = [
        {"kind": "epoch", "epoch": epoch, "step": epoch, "loss": 1.0, "dev": {"bleu4": 9.0, "ter": 90.0 - 10 * epoch}}
        for epoch in (1, 2)
    ]
    write_text(run.visual / "metrics.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    page = page_of(run)
    assert "stage 1: visual encoder and Light-T: dev TER over epochs" in page
    assert "stage 2: the LLM from the cache: dev BLEU-4 over epochs" in page
    assert '<td data-label="dev">TER 70.00</td>' in page and '<td data-label="dev">BLEU-4 40.00</td>' in page


def test_a_single_model_has_no_best_and_no_test(run: Run) -> None:
    (run.evaluation / "visual.test.json").unlink()
    page = page_of(run)
    assert 'class="best"' not in page
    assert "more than chance" not in page


def test_intervals_stand_under_the_scores_that_the_sentences_give(run: Run, tmp_path: Path) -> None:
    """The made-up scores of the fixture have none: they are not those of its sentences."""
    assert not re.search(r"<small>[0-9.]+–[0-9.]+</small>", page_of(run))
    texts = {name: tmp_path / name for name in ("hypotheses", "references")}
    for name, column in (("references", 1), ("hypotheses", 2)):
        texts[name].write_text("".join(sentence[column] + "\n" for sentence in SENTENCES), encoding="utf-8")
    found = slt_cache("score", texts["hypotheses"], texts["references"], "--bootstrap", "1000", "--json")
    scored = json.loads(found.out)
    evaluate(run, "llm", "test", scored["scores"])
    page = page_of(run)
    assert len(re.findall(r"<small>[0-9.]+–[0-9.]+</small>", page)) == len(SCORES)
    low, high = scored["intervals"]["bleu4"]
    assert f"{scored['scores']['bleu4']:.2f}<small>{low:.1f}–{high:.1f}</small>" in page


def test_models_of_one_run_are_tested_against_both_stages(run: Run) -> None:
    evaluate_both(run)
    page = page_of(run)
    assert "Is the difference more than chance?" in page
    assert re.search(r"−[0-9]+\.[0-9]{2} ▼</small><small>p [=≤] 0\.[0-9]{3}</small>", page)
    assert "paired-bs:1000|seed:12345" in page


@pytest.mark.parametrize(("ours", "theirs", "side"), [(MANY, BAD, "worse"), (BAD, MANY, "better")])
def test_what_is_significantly_worse_does_not_look_like_the_best(
    run: Run, ours: list[tuple[str, str, str]], theirs: list[tuple[str, str, str]], side: str
) -> None:
    evaluate_both(run, llm=ours, visual=theirs)
    page = page_of(run)
    paired = page[page.index("Is the difference more than chance?") : page.index('id="clips"')]
    assert set(re.findall(r'<small class="(\w+)"', paired)) == {side}
    assert 'class="best"' not in paired
    colours = re.search(r"td small\.better \{ color: (.*?); \}.*?td small\.worse \{ color: (.*?); \}", page, re.DOTALL)
    assert colours and colours[1] != colours[2]


def test_on_few_clips_nothing_is_claimed(run: Run) -> None:
    page = page_of(run)
    assert "4 test clips: too few to compare models on." in page
    assert "nothing is called the best here" in page
    for claim in ('class="best"', 'class="better"', 'class="worse"', "p = ", "p ≤", "more than chance"):
        assert claim not in page.replace("by more than chance", ""), claim
    evaluate_both(run, MANY[:30], MANY[:30])
    assert "too few" not in page_of(run)
    evaluate_both(run, MANY[:29], MANY[:29])
    assert "29 test clips: too few" in page_of(run)


def test_equal_scores_have_no_best(run: Run) -> None:
    evaluate(run, "llm", "test", SCORES, MANY)
    evaluate(run, "visual", "visual.test", SCORES, MANY)
    assert 'class="best"' not in page_of(run)


def test_a_weak_model_is_reported(run: Run) -> None:
    """Some resamples of its sentences score 0."""
    weak = [("a", "heute regnet es", "heute schneit es"), ("b", "ganz anders", "xx yy"), ("c", "nichts davon", "zz qq")]
    found = json.loads(_scored(weak, run.folder).out)
    evaluate(run, "llm", "test", found["scores"], weak)
    assert len(re.findall(r"<small>[0-9.]+–[0-9.]+</small>", page_of(run))) == len(SCORES)


def _scored(sentences: list[tuple[str, str, str]], folder: Path) -> Ran:
    table = folder / "scored.tsv"
    write_text(table, "\n".join(["id\treference\thypothesis", *("\t".join(one) for one in sentences)]) + "\n")
    return slt_cache("score", table, table, "--bootstrap", "1000", "--json")


def test_a_model_has_one_colour_in_every_table_and_drawing(run: Run) -> None:
    evaluate_both(run)
    train(run, "control", epochs=2)
    evaluate(run, "control", "control.test", LOWER, BAD)
    page = page_of(run)
    for name, place in (("stage 1 alone \\(Light-T\\)", 1), ("both stages \\(LLM", 2), ("Light-T baseline", 4)):
        dots = re.findall(rf'--of-model:var\(--series-(\d)\)"></i>{name}', page)
        assert len(dots) >= 2 and set(dots) == {str(place)}, name
    for title, place in (("stage 1: visual", 1), ("stage 2: the LLM", 2), ("Light-T baseline", 4)):
        for drawn in re.findall(
            rf'aria-label="{title}[^"]*(?:training loss|dev BLEU-4)[^"]*">.*?</svg>', page, re.DOTALL
        ):
            assert set(re.findall(r"var\(--series-(\d)\)", drawn)) == {str(place)}


def test_curves_share_an_axis_unless_their_scales_differ(run: Run) -> None:
    assert "All losses share one vertical axis" in page_of(run)
    log = run.visual / "metrics.jsonl"
    log.write_text(log.read_text().replace('"loss": 4.0', '"loss": 400.0'))
    page = page_of(run)
    assert "All losses share" not in page and "each chart has its own axis" in page
    drawings = re.findall(r'aria-label="[^"]*training loss[^"]*">.*?</svg>', page, re.DOTALL)
    assert [">400</text>" in drawing for drawing in drawings] == [True, False]
    assert ">3</text>" in drawings[1]


def test_terms_of_the_loss_are_drawn_by_epoch_and_named(run: Run) -> None:
    assert "terms of the loss" not in page_of(run)
    log = run.visual / "metrics.jsonl"
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    for names, axis in (("contrastive",), "contrastive"), (("contrastive", "signcl"), "value of each term"):
        write_text(log, "".join(json.dumps(line | {f"loss/{name}": 0.5 for name in names}) + "\n" for line in lines))
        figures = re.findall(r'<figure class="chart">(?:(?!</figure>).)*</figure>', page_of(run), re.DOTALL)
        (drawn,) = [figure for figure in figures if "terms of the loss besides the cross-entropy" in figure]
        assert all(name in drawn for name in names) and axis in drawn
        assert drawn.count("<use ") + drawn.count("<circle ") >= 3 * len(names)  # a dot for each of the three epochs


def test_markup_in_sentences_and_ids_is_escaped(run: Run) -> None:
    add_model_and_cache(run)
    page = page_of(run)
    assert page.count("<script>") == 1  # the page's own
    assert "alert(2)</script>" not in page
    assert "&lt;script&gt;alert(2)&lt;/script&gt;" in page
    assert "<script>alert" not in page


def test_nothing_is_loaded_from_elsewhere_and_one_script_may_run(run: Run) -> None:
    page = page_of(run)
    for tag, attributes in Elements(page).found:
        assert tag not in {"iframe", "object", "embed"}
        for name in ("src", "href", "xlink:href"):
            assert re.match(r"data:|#|$", attributes.get(name) or ""), (tag, attributes)
    assert not re.search(r"url\((?!#)", page)
    assert "http://" not in page and "https://" not in page
    assert re.search(r"default-src 'none'; .*script-src 'sha256-[\w+/]{43}='\"", page)


def test_the_drawings_share_no_id_and_no_colour_of_their_own(run: Run) -> None:
    add_model_and_cache(run)
    page = page_of(run)
    attributes = [attributes for _, attributes in Elements(page).found]
    ids = [found["id"] for found in attributes if "id" in found]
    assert len(ids) == len(set(ids))
    drawings = re.findall(r'<svg viewBox="[^"]*" role="img".*?</svg>', page, re.DOTALL)
    assert len(drawings) == 2 * 2 + 2 * 2 + 2  # loss and dev, norms, and lengths
    for drawing in drawings:
        used = re.findall(r"""(?:href="|url\()#([^")]+)""", drawing)
        assert used and set(used) <= set(ids)
        assert not re.search(r"(?:stroke|fill): #", drawing)
        assert "currentColor" in drawing


def test_norms_are_drawn_by_module_and_only_where_they_were_logged(run: Run) -> None:
    page = page_of(run)
    assert "Norms of gradients and weights" in page
    assert page.count("norm of the gradient of each module&#x27;s last layer") == 2
    train(run, "visual", epochs=3, norms=False)
    assert page_of(run).count("norm of the gradient of each module&#x27;s last layer") == 1
    train(run, "llm", epochs=3, norms=False)
    assert "Norms of gradients and weights" not in page_of(run)


@pytest.mark.parametrize(
    ("gradient", "told"),
    [
        (0.2, "larger one in 100% of the 3 logged updates: it dominates this training, as the paper says"),
        (0.05, "larger one in 0% of the 3 logged updates: here the LLM does not dominate the encoder"),
    ],
)
def test_figure_2_tells_which_of_encoder_and_llm_decides_a_joint_training(run: Run, gradient: float, told: str) -> None:
    train(run, "joint", epochs=3, llm_gradient=gradient)
    page = page_of(run)
    assert told in page.replace("&#39;", "'")
    of_joint = page[page.index("encoder and LLM end to end, no stage 1: norm of the gradient") :]
    legend = of_joint[: of_joint.index("</figure>")]
    assert "LLM" in legend.split("</svg>", 1)[-1] and "Light-T" not in legend


def test_a_run_without_a_cache_has_no_steps_but_words(run: Run) -> None:
    page = page_of(run)
    assert "this run has no feature cache; slt-cache extract-features --split all" in page
    assert "hypotheses of test, both stages" in page


def test_lengths_are_those_of_cache_and_sentences(run: Run) -> None:
    add_model_and_cache(run)
    page = page_of(run)

    def figures(name: str) -> list[str]:
        row = re.search(rf'<th scope="row">{name}</th>(.*?)</tr>', page, re.DOTALL)
        assert row is not None
        return re.findall(r"<td[^>]*>([^<]*)</td>", row.group(1))

    steps = sorted(STEPS.values())
    assert figures("test") == ["4", "1", "5.5", f"{np.mean(steps):.1f}", "8"]
    assert figures("references of test") == ["4", "3", "5", "4.8", "6"]
    assert figures("hypotheses of test, both stages") == ["4", "2", "4", "4.0", "6"]


def test_runs_are_laid_side_by_side(run: Run, tmp_path: Path) -> None:
    other = make_run(tmp_path / "other")
    evaluate(run, "llm", "test", SCORES, MANY)
    evaluate(other, "llm", "test", dict.fromkeys(SCORES, 1.0), BAD)
    train(other, "llm", epochs=5)
    other_config = load_config("avatar", ["seed=7"])
    page = write_report(run, [Run(other.folder, other_config)]).read_text(encoding="utf-8")
    side = page[page.index('id="runs"') : page.index('id="clips"')]
    assert re.search(r'<th scope="row">other</th>', side)
    assert re.search(r"−[0-9.]+ ▼</small><small>p [=≤] 0", side)
    assert side.count("<figure") == 2  # dev of stage 1 and of stage 2, each with both runs
    assert "Settings that differ (1)" in side and "<code>7</code>" in side
    assert Elements(page).open == []


def test_runs_of_other_references_have_no_test(run: Run, tmp_path: Path) -> None:
    other = make_run(tmp_path / "other")
    evaluate(other, "llm", "test", SCORES, [("film", "etwas anderes", "heute")])
    page = write_report(run, [other]).read_text(encoding="utf-8")
    side = page[page.index('id="runs"') : page.index('id="clips"')]
    assert "no test: other clips or references" in side


def test_the_command_compares_and_names_a_run_that_holds_nothing(run: Run, tmp_path: Path) -> None:
    make_run(tmp_path / "other")
    found = slt_cache("report", "--run", run.folder, "--compare", tmp_path / "other", "--json")
    assert found.code == 0 and json.loads(found.out) == {"report": str(run.report)}
    assert "Runs side by side" in run.report.read_text(encoding="utf-8")
    found = slt_cache("report", "--run", run.folder, "--compare", tmp_path / "nothing")
    assert found.code == 2 and "nothing: no such run folder" in found.err


def test_a_run_that_was_only_trained_is_reported(run: Run) -> None:
    for path in run.evaluation.iterdir():
        path.unlink()
    page = page_of(run)
    assert page.count("slt-cache eval --run") == 2
    assert "<svg" in page


def test_what_a_page_advises_can_be_typed(run: Run, tmp_path: Path) -> None:
    shutil.rmtree(run.evaluation)
    moved = Run(run.folder.rename(tmp_path / "it's mine"), run.config)
    page = html.unescape(page_of(moved))
    assert page.count(f"<code>{moved.command('eval')}</code>") == 2
    assert f"--run {shlex.quote(str(moved.folder))}" in page


def test_a_run_that_was_only_scored_is_reported(run: Run) -> None:
    for stage in (run.visual, run.llm):
        (stage / "metrics.jsonl").unlink()
        (stage / "best" / "record.json").unlink()
    page = page_of(run)
    assert 'id="curves"' not in page
    assert "44.56" in page
    assert "holds no training of stage 2" not in page


def test_a_run_with_stage_1_alone_is_reported(run: Run) -> None:
    shutil.rmtree(run.llm)
    (run.evaluation / "test.json").unlink()
    page = page_of(run)
    assert "holds no training of stage 2" in page
    assert "1 of 4 sentences of the test split equal their reference to the letter (stage 1 alone)" in page


def test_a_training_that_goes_on_is_called_not_finished(run: Run) -> None:
    write_record(run.llm / "best", Record("stage 2", {}, best_epoch=1, dev={"bleu4": 20.0}))
    assert page_of(run).count("not finished") == 1


def test_scores_of_earlier_weights_are_called_so(run: Run) -> None:
    path = run.evaluation / "test.json"
    saved = json.loads(path.read_text())
    saved["made_from"] = {"weights": json.loads((run.llm / "best" / "record.json").read_text())}
    write_signed(path, saved)
    assert "scored before its last training" not in page_of(run)
    train(run, "llm", epochs=5)
    page = page_of(run)
    assert "scored before its last training" in page
    said = "Cross-attention is not shown: the model has been trained since: slt-cache eval --split test"
    assert f"{said} --run" in page
    path.unlink()
    path = run.evaluation / "visual.test.json"
    weights = {"made_from": {"weights": json.loads((run.visual / "best" / "record.json").read_text())}}
    write_signed(path, {**json.loads(path.read_text()), **weights})
    train(run, "visual", epochs=5)
    assert f"{said} --model visual --run" in page_of(run)


def test_sentences_that_are_not_those_which_were_scored_are_not_shown(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    for stem in ("test", "visual.test"):
        path = run.evaluation / f"{stem}.json"
        write_signed(path, {**json.loads(path.read_text()), "table_sha256": file_sha256(path.with_suffix(".tsv"))})
    assert "dichte wolken" in page_of(run)
    assert "warning" not in capsys.readouterr().err
    table = run.evaluation / "test.tsv"
    write_text(table, table.read_text(encoding="utf-8").replace("dichte wolken", "helle wolken"))
    page = page_of(run)
    said = "test.tsv: not the sentences scored in test.json"
    assert said in page and "44.56" in page and "helle wolken" not in page
    assert "sentences of the test split equal their reference to the letter (stage 1 alone)" in page
    err = capsys.readouterr().err
    assert f"warning: {table}" in err and f"slt-cache eval --split test --run {run.folder}" in err
    write_text(run.evaluation / "visual.test.tsv", "no table")
    assert "None yet" in page_of(run)
    assert f"--split test --model visual --run {run.folder}" in capsys.readouterr().err


def test_nothing_to_report_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing to report.*slt-cache train-visual"):
        write_report(Run(tmp_path, load_config("avatar")))
    assert list(tmp_path.iterdir()) == []


def test_a_broken_evaluation_is_named(run: Run) -> None:
    write_signed(run.evaluation / "dev.json", {"model": "llm"})
    with pytest.raises(InputError, match=r"dev\.json: not an evaluation.*slt-cache eval"):
        write_report(run)
    (run.evaluation / "dev.json").unlink()
    write_text(run.evaluation / "test.tsv", "id\treference\thypothesis\na\tb\n")
    with pytest.raises(InputError, match=r"test\.tsv: not a table.*slt-cache eval"):
        write_report(run)
