"""`export-attention`: one file for each clip, whatever the clip is called; a stopped export resumes."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from slt_cache.features.clip_names import stem_of
from tests.helpers.commands import slt_cache
from tests.helpers.made_run import make_run
from tests.helpers.tiny_run import succeed
from tests.pipeline.test_grounding import SETTINGS, with_clips


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = with_clips(make_run(tmp_path_factory.mktemp("arrays") / "run", "mbart", *SETTINGS))
    succeed("extract-features", "--split", "all", "--run", run)
    return run


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


def test_every_clip_has_a_file_with_what_eval_measured(run: Path) -> None:
    grounding = json.loads(succeed("eval", "--run", run, "--grounding", "--json").out)["grounding"]
    found = json.loads(succeed("export-attention", "--run", run, "--json").out)
    folder = Path(found["out"])
    assert (folder, found["clips"], found["written"]) == (run / "attention" / "test", 3, 3)
    assert sorted(path.name for path in folder.glob("*.npz")) == [f"test%2F{place}.npz" for place in range(3)]
    for line in Path(grounding["file"]).read_text(encoding="utf-8").split("\n")[:-1]:
        row = json.loads(line)
        with np.load(folder / f"{stem_of(row['id'])}.npz", allow_pickle=False) as arrays:
            assert str(arrays["clip_id"]) == row["id"] and str(arrays["sentence"]) == row["hypothesis"]
            assert float(arrays["reliability"]) == pytest.approx(row["reliability"], abs=1e-3)
            tokens = [token for word in row["words"] for token in word["tokens"]]
            assert arrays["log_probability"].tolist() == pytest.approx(
                [token["log_probability"] for token in tokens], abs=1e-3
            )


def test_a_stopped_export_resumes_with_the_same_bytes(run: Path) -> None:
    """Without an evaluation, sentences are translated."""
    assert json.loads(succeed("export-attention", "--run", run, "--json").out)["written"] == 3
    folder = run / "attention" / "test"
    whole = {path.name: path.read_bytes() for path in folder.iterdir()}
    (folder / "test%2F1.npz").rename(folder / "test%2F1.npz.tmp")  # as a kill leaves it
    kept = (folder / "test%2F0.npz").stat().st_mtime_ns
    assert json.loads(succeed("export-attention", "--run", run, "--json").out)["written"] == 1
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == whole
    assert (folder / "test%2F0.npz").stat().st_mtime_ns == kept
    refused = slt_cache("export-attention", "--run", run, "--model", "visual", "--out", folder)
    assert refused.code == 2 and "other weights" in refused.err
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == whole


def test_what_cannot_be_exported_is_refused(run: Path) -> None:
    (run / "videos").mkdir()
    (run / "videos" / "mine.txt").write_text("mine")
    for options, said in (
        (("--out", run / "videos"), "is not empty"),
        (("--split", "dev"), "no cache has its features of dev"),
        (("--split", "validation"), "validation"),
        (("--model", "llama"), "no such model"),
    ):
        ran = slt_cache("export-attention", "--run", run, *options)
        assert ran.code == 2 and said in ran.err, (options, ran.err)
    assert [path.name for path in (run / "videos").iterdir()] == ["mine.txt"]
