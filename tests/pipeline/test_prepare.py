"""`prepare` for every corpus: counts, report, exit codes."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from slt_cache.corpora.manifest import read_manifest
from tests.helpers import official
from tests.helpers.commands import slt_cache


@pytest.mark.parametrize(
    ("corpus", "make", "gloss"),
    [("phoenix14t", official.phoenix, "VÖLLIG ANDERS"), ("csl-daily", official.csl, "别的")],
)
def test_changing_every_gloss_changes_nothing(corpus: str, make: Any, gloss: str, tmp_path: Path) -> None:
    root = make(tmp_path / "root")
    assert slt_cache("prepare", corpus, "--root", root, "--run", tmp_path / "one").code == 0
    shutil.rmtree(root)
    make(root, gloss=gloss)
    assert slt_cache("prepare", corpus, "--root", root, "--run", tmp_path / "two").code == 0
    one, two = ((tmp_path / run / "manifest.tsv").read_bytes() for run in ("one", "two"))
    assert one == two
    first, second = (json.loads((tmp_path / run / "prepare.json").read_text()) for run in ("one", "two"))
    assert first.pop("source_sha256") != second.pop("source_sha256")
    assert first == second
    assert "REGEN" not in one.decode()


def test_prepare_prints_counts_beside_the_published_ones_and_writes_all(phoenix: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    ran = slt_cache("prepare", "phoenix14t", "--root", phoenix, "--run", run)
    assert ran.code == 0
    assert "train 2 (published 7,096), dev 1 (published 519), test 1 (published 642) clips" in ran.out
    assert "warning: not the published count: 3 (train: 2 clips of 2 rows; published are 7,096 rows" in ran.err
    report = json.loads((run / "prepare.json").read_text())
    assert report["counts"] == report["named"] == {"train": 2, "dev": 1, "test": 1}
    assert report["published"] == {"train": [7096], "dev": [519], "test": [642]}
    assert report["signers"] == {"Signer01": 3, "Signer02": 1}
    assert report["findings"]["unit_of_length"] == "frames"
    assert len(read_manifest(run / "manifest.tsv")) == 4
    assert "language: de_DE" in (run / "config.yaml").read_text()


def test_the_json_object_keeps_its_keys(csl: Path, tmp_path: Path) -> None:
    ran = slt_cache("prepare", "csl-daily", "--root", csl, "--run", tmp_path / "run", "--json")
    printed = json.loads(ran.out)
    assert printed["counts"] == {"train": 2, "dev": 1, "test": 1}
    assert printed["problems"] == {"not the published count": 3}
    assert Path(printed["manifest"]).is_file()
    assert Path(printed["report"]).is_file()


def test_without_a_run_folder_the_shipped_config_of_the_corpus_names_it(
    csl: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert slt_cache("prepare", "csl-daily", "--root", csl).code == 0
    assert "language: zh_CN" in (tmp_path / "runs" / "csl_daily" / "config.yaml").read_text()


def test_an_empty_split_ends_with_1_and_keeps_the_manifest(phoenix: Path, train_csv: Path, tmp_path: Path) -> None:
    train_csv.write_text(official.PHOENIX_HEADER + "\n")
    ran = slt_cache("prepare", "phoenix14t", "--root", phoenix, "--run", tmp_path / "run", "--json")
    assert ran.code == 1
    assert "no clip with a video in train" in ran.err
    assert json.loads(ran.out)["counts"] == {"train": 0, "dev": 1, "test": 1}
    assert len(read_manifest(tmp_path / "run" / "manifest.tsv")) == 2


def test_annotation_without_any_video_ends_with_1_and_keeps_every_clip(phoenix: Path, tmp_path: Path) -> None:
    shutil.rmtree(phoenix / "features")
    ran = slt_cache("prepare", "phoenix14t", "--root", phoenix, "--run", tmp_path / "run")
    assert ran.code == 1
    assert "features/fullFrame-210x260px/train" in ran.err
    assert len(read_manifest(tmp_path / "run" / "manifest.tsv")) == 4


@pytest.mark.parametrize("corpus", ["phoenix14t", "csl-daily", "how2sign"])
def test_a_corpus_without_its_root_is_refused_with_the_command(
    corpus: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = slt_cache("prepare", corpus)
    assert (ran.code, f"slt-cache prepare {corpus} --root DIR" in ran.err) == (2, True)
    assert slt_cache("prepare", corpus, "--root", "nowhere").code == 2
    (tmp_path / "empty").mkdir()
    ran = slt_cache("prepare", corpus, "--root", "empty")
    assert ran.code == 2
    assert "Name the folder" in ran.err


def test_an_edited_annotation_is_noticed(phoenix: Path, train_csv: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert slt_cache("prepare", "phoenix14t", "--root", phoenix, "--run", run).code == 0
    official.append(train_csv, official.phoenix_line("train", 0, "neu"))
    ran = slt_cache("train-visual", "--run", run)
    assert ran.code == 2
    assert "an annotation file has changed" in ran.err
    assert "prepare phoenix14t --root" in ran.err


def test_ones_own_manifest_has_every_problem_named_with_its_line_at_once(tmp_path: Path) -> None:
    lines = ["id\tsplit\tvideo\tstart\tend\ttext", *(f"{number}\tval\tv\t\t\tt" for number in range(2, 32))]
    lines += ["here\ttrain\tabsent.mp4\t\t\tt", "long\ttrain\t" + "x" * 5000 + "\t\t\tt", "nul\ttrain\ta\0b\t\t\tt"]
    (tmp_path / "manifest.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    ran = slt_cache("prepare", "tsv", "--root", tmp_path, "--run", tmp_path / "run")
    assert ran.code == 2
    assert "33 bad lines" in ran.err
    assert all(f"line {number}: split 'val'" in ran.err for number in range(2, 32))
    assert all(f"line {number}: video not found" in ran.err for number in (32, 33, 34))


def test_a_root_with_signs_of_yaml_is_taken_as_it_is(tmp_path: Path) -> None:
    root = tmp_path / "my: corpus #2"
    root.mkdir()
    (root / "a.mp4").touch()
    (root / "manifest.tsv").write_text(
        "id\tsplit\tvideo\tstart\tend\ttext\na\ttrain\ta.mp4\t\t\tein satz\n", encoding="utf-8"
    )
    slt_cache("prepare", "tsv", "--root", root, "--run", tmp_path / "r", "--set", "llm.language=de_DE", "--no-probe")
    assert Path(read_manifest(tmp_path / "r" / "manifest.tsv")[0].video).is_file()


def test_ones_own_missing_videos_are_listed_with_their_lines(tmp_path: Path) -> None:
    lines = ["id\tsplit\tvideo\tstart\tend\ttext", "", "a\ttrain\tno.mp4\t\t\tt", "b\ttrain\tno.mp4\t\t\tt"]
    (tmp_path / "manifest.tsv").write_text("\n".join(lines) + "\n")
    ran = slt_cache("prepare", "tsv", "--root", tmp_path, "--run", tmp_path / "run", "--json")
    assert ran.code == 1
    found = json.loads(ran.out)["problems"]
    assert found == {
        "video not found": 2,
        "split without a clip": 2,
        "same video and start on several lines": 1,
        "language": 1,
    }
    problems = json.loads((tmp_path / "run" / "prepare.json").read_text())["problems"]
    assert [entry.partition(" (")[0] for entry in problems["video not found"]] == ["line 3: a", "line 4: b"]
    assert "lines 3, 4" in problems["same video and start on several lines"][0]
