"""Official corpora whose names or sentences come from a Mac, and the counts that were published."""

import json
import unicodedata
from pathlib import Path
from typing import Literal

import pytest

from slt_cache.corpora.manifest import read_manifest
from slt_cache.corpora.registry import corpus_named
from tests.helpers import official
from tests.helpers.commands import Ran, slt_cache

Form = Literal["NFC", "NFD"]
FORMS = [("NFC", "NFD"), ("NFD", "NFC")]
ROOTS = {"phoenix14t": official.phoenix, "csl-daily": official.csl}


def renamed(root: Path, old: str, new: str) -> None:
    """In every file name below the folder."""
    for path in sorted(root.rglob("*"), reverse=True):
        if old in path.name:
            path.rename(path.with_name(path.name.replace(old, new)))


def prepare(corpus: str, root: Path) -> Ran:
    return slt_cache("prepare", corpus, "--root", root, "--run", root.with_name("run"), "--json")


@pytest.mark.parametrize(("written", "stored"), FORMS)
def test_frames_of_phoenix14t_are_found_in_either_form_of_unicode(tmp_path: Path, written: Form, stored: Form) -> None:
    root = official.phoenix(tmp_path / "root")
    for csv in root.rglob("*.csv"):
        csv.write_text(csv.read_text().replace("April", unicodedata.normalize(written, "März")))
    renamed(root / "features", "April", unicodedata.normalize(stored, "März"))
    ran = prepare("phoenix14t", root)
    assert ran.code == 0, ran.err
    assert set(json.loads(ran.out)["problems"]) == {"not the published count"}
    assert all(clip.video.is_dir() for clip in read_manifest(tmp_path / "run" / "manifest.tsv"))


@pytest.mark.parametrize(("written", "stored"), FORMS)
def test_videos_of_how2sign_are_found_in_either_form_of_unicode(tmp_path: Path, written: Form, stored: Form) -> None:
    root = official.full_videos(official.how2sign(tmp_path / "root"))
    for csv in root.glob("*.csv"):
        csv.write_text(csv.read_text().replace("-8-rgb", unicodedata.normalize(written, "-ü-rgb")))
    renamed(root / "video_level", "-8-rgb", unicodedata.normalize(stored, "-ü-rgb"))
    ran = prepare("how2sign", root)
    assert ran.code == 0, ran.err
    assert not {"named but not on disk", "on disk but not named"} & set(json.loads(ran.out)["problems"])


def test_sentences_with_letters_and_accents_apart_are_counted(tmp_path: Path) -> None:
    root = official.phoenix(tmp_path / "root")
    csv = root / "annotations" / "manual" / "PHOENIX-2014-T.train.corpus.csv"
    lines = csv.read_text().splitlines()
    csv.write_text("\n".join([*lines[:2], lines[2] + unicodedata.normalize("NFD", " schön")]) + "\n")
    report = json.loads(Path(json.loads(prepare("phoenix14t", root).out)["report"]).read_text())
    [entry] = report["problems"]["separate letters and accents (NFD; read as NFC)"]
    assert entry.endswith("(PHOENIX-2014-T.train.corpus.csv line 3)")


def test_the_published_counts_of_how2sign_stand_in_one_place_and_are_all_named(tmp_path: Path) -> None:
    rows = {"train": 31_165, "dev": 1_741, "test": 2_357}
    paper = {"train": 31_164, "dev": 1_740, "test": 2_356}
    ready_cut = {"train": 31_048, "dev": 1_739, "test": 2_343}
    published = corpus_named("how2sign").published
    assert {split: (size.rows, size.in_paper, size.ready_cut) for split, size in published.items()} == {
        split: (rows[split], paper[split], ready_cut[split]) for split in rows
    }
    root = official.full_videos(official.how2sign(tmp_path / "root"))
    ran = slt_cache("prepare", "how2sign", "--root", root, "--run", tmp_path / "run")
    assert "(published 31,165 rows, 31,048 ready-cut clips, 31,164 clips in the paper)" in ran.out
    assert "published are 1,741 rows, 1,739 ready-cut clips, 1,740 clips in the paper" in ran.err
