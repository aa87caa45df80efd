"""Evaluation from a cache: what is asked for is checked before hours of translating, and what was found is saved."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from slt_cache.checkpoints.translator import load_llm
from slt_cache.config import ScoringConfig, load_config
from slt_cache.corpora.base import Clip
from slt_cache.corpora.manifest import write_manifest
from slt_cache.errors import InputError
from slt_cache.features.layout import Failure, SplitMetadata
from slt_cache.features.parts import ClipFeatures, Parts, add_splits
from slt_cache.pipeline.evaluate import evaluate, load_translator
from slt_cache.runs.evaluations import intervals_of, read_evaluations
from slt_cache.runs.run import Run, open_run
from slt_cache.runs.scoring import references_of
from tests.helpers.made_run import make_run
from tests.helpers.small_encoder import make_encoder
from tests.helpers.tiny_run import succeed

TEXTS = {"a": "heute regnet es", "b": "morgen schneit es im norden"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of random weights, with a cache of random features for two clips of test; a third could not be read."""
    folder = make_run(
        tmp_path_factory.mktemp("runs") / "run",
        "mbart",
        "generation.max_new_tokens=4",
        "scoring.preset=plain",
        "llm.language=de_DE",
    )
    run = Run(folder, load_config(str(folder / "config.yaml")))
    write_manifest(
        run.manifest, [Clip(name, "test", folder / f"{name}.mp4", None, None, TEXTS[name]) for name in TEXTS]
    )
    spec = load_llm(run.llm / "best").spec
    random = np.random.default_rng(0)
    rows = [
        ClipFeatures(name, text, 20, 25.0, random.normal(size=(5, spec.dim)).astype(spec.dtype))
        for name, text in TEXTS.items()
    ]
    parts = Parts(run.features, SplitMetadata("test", spec, "tsv", "de_DE", "m" * 64, "2024", "slt-cache test"))
    parts.write(0, rows, [Failure("c", "empty file")])
    add_splits(run.features, [parts.content(1)])
    parts.remove()
    return run


def test_hypotheses_and_scores_of_the_cached_clips_are_saved_in_the_order_of_the_split(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    done = evaluate(run, None)
    assert (done.split, done.model, done.references) == ("test", "llm", tuple(TEXTS.values()))
    assert [hypothesis.clip_id for hypothesis in done.hypotheses] == ["a", "b"]
    lines = done.table.read_text(encoding="utf-8").splitlines()
    assert [line.split("\t")[:2] for line in lines[1:]] == [list(pair) for pair in TEXTS.items()]
    saved = json.loads((run.evaluation / "test.json").read_text())
    assert saved["scores"]["bleu4"] == pytest.approx(done.scores["bleu4"].value)
    assert "1 clips of test are missing and left out" in capsys.readouterr().err


def test_a_protocol_is_stated_in_every_signature_and_its_scores_have_files_of_their_own(run: Run) -> None:
    before = evaluate(run, None).table.read_text(encoding="utf-8")
    asked = open_run(run.folder, overrides=["scoring.protocol=sltbaselines"])
    done = evaluate(asked, None)
    assert done.table == run.evaluation / "test.protocol-sltbaselines.tsv"
    assert (run.evaluation / "test.tsv").read_text(encoding="utf-8") == before
    end = "|protocol:sltbaselines|references:decoded|beams:4|length-penalty:1|dev:bleu4|seeds:0,42,100"
    assert all(one.signature.endswith(end) for one in done.scores.values())
    saved = json.loads(done.table.with_suffix(".json").read_text())
    assert saved["made_from"]["choices"]["protocol"] == end.removeprefix("|protocol:")
    assert saved["made_from"]["generation"]["num_beams"] == 4


def test_decoded_references_lack_what_the_tokenizer_does_not_know(run: Run) -> None:
    tokenizer = load_llm(run.llm / "best").tokenizer
    texts = ["heute regnet es", "heute \N{SUN WITH FACE} es"]
    decoded = run.config.model_copy(update={"scoring": ScoringConfig(references="decoded")})
    assert references_of(run.config, texts, tokenizer) == texts
    known, unknown = references_of(decoded, texts, tokenizer)
    assert known == texts[0] and "\N{SUN WITH FACE}" not in unknown and unknown.startswith("heute")


def test_metrics_of_the_command_line_are_computed_and_saved_without_other_files(run: Run, tmp_path: Path) -> None:
    before = {key: round(found.value, 2) for key, found in evaluate(run, None).scores.items()}
    encoder = make_encoder(tmp_path / "encoder", [*TEXTS.values()])
    ask = ("eval", "--run", run.folder, "--metric", "chrf++", "--metric", f"embedding={encoder}", "--content-words")
    done = json.loads(succeed(*ask, "--json").out)
    assert done["hypotheses"] == str(run.evaluation / "test.tsv")
    scores = done["scores"]
    assert [*scores] == [*before, "chrf++", "wer_content", "wer_numbers", "wer_names", "embedding"]
    assert {key: scores[key] for key in before} == before
    assert "|lang:de" in done["signatures"]["wer_content"] and "|model:encoder@" in done["signatures"]["embedding"]
    assert {key: one["words"] for key, one in done["content_words"].items()} == {
        "wer_content": 5,
        "wer_numbers": 0,
        "wer_names": 0,
    }
    assert open_run(run.folder).config == run.config
    shutil.rmtree(encoder)  # a report shows the score of a model that is gone, without an interval
    [evaluation] = [one for one in read_evaluations(open_run(run.folder)) if one.split == "test"]
    assert evaluation.scores == {key: scores[key] for key in evaluation.scores} and "embedding" in evaluation.scores
    assert intervals_of(evaluation).keys() == scores.keys() - {"rouge_l_beta12", "embedding"}


def test_the_loaded_translator_is_that_of_the_record(run: Run) -> None:
    model, tokenizer, spec, visual = load_translator(run, "llm")
    assert visual is None
    assert spec == load_llm(run.llm / "best").spec
    assert model.seq2seq.get_input_embeddings().num_embeddings >= len(tokenizer)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"model": "lmm"}, "--model lmm: no such model. Use visual, llm, "),
        ({"split": "tset"}, "tset"),
        ({"bootstrap": 1}, "bootstrap"),
        (
            {"manifest": Path("list.tsv"), "cache": Path("feats.h5")},
            "the clips of --manifest are read from their",
        ),
        ({"without": ["pose"]}, "--without"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    run: Run, tmp_path: Path, asked: dict[str, object], said: str
) -> None:
    before = {path: path.stat().st_mtime_ns for path in run.folder.rglob("*")}
    with pytest.raises(InputError, match=said):
        evaluate(run, **{"split": None, **asked})  # type: ignore[arg-type]
    assert {path: path.stat().st_mtime_ns for path in run.folder.rglob("*")} == before
