"""Evaluation from a cache: what is asked for is checked before hours of translating, and what was found is saved."""

import json
from pathlib import Path

import numpy as np
import pytest

from slt_cache.checkpoints.translator import load_llm
from slt_cache.config import load_config
from slt_cache.corpora.base import Clip
from slt_cache.corpora.manifest import write_manifest
from slt_cache.errors import InputError
from slt_cache.features.layout import Failure, SplitMetadata
from slt_cache.features.parts import ClipFeatures, Parts, add_splits
from slt_cache.pipeline.evaluate import evaluate, load_translator
from slt_cache.runs.run import Run
from tests.helpers.made_run import make_run

TEXTS = {"a": "heute regnet es", "b": "morgen schneit es im norden"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of random weights, with a cache of random features for two clips of test; a third could not be read."""
    folder = make_run(
        tmp_path_factory.mktemp("runs") / "run", "mbart", "generation.max_new_tokens=4", "scoring.preset=plain"
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
