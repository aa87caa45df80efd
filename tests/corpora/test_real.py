"""The real annotation files, where they lie beside the project, give the published counts."""

import gzip
import pickle
import shutil
from pathlib import Path

import pytest

from slt_cache.corpora.characters import DAMAGED
from slt_cache.corpora.csl_daily import read_csl_daily
from slt_cache.corpora.how2sign import read_how2sign
from slt_cache.corpora.official import (
    ABSENT,
    LENGTH_DIFFERS,
    NO_ANNOTATION,
)
from slt_cache.corpora.phoenix14t import read_phoenix14t
from slt_cache.corpora.pickles import load_plain
from tests.helpers import official

REAL = Path(__file__).parents[3] / "shared" / "real"
needs_real = pytest.mark.skipif(not REAL.is_dir(), reason="no real annotation files beside the project")


@needs_real
def test_the_real_labels_of_phoenix14t_give_the_published_dev_set(tmp_path: Path) -> None:
    shutil.copyfile(REAL / "phoenix14t" / "labels.dev", tmp_path / "labels.dev")
    held = load_plain(tmp_path / "labels.dev")
    with gzip.open(tmp_path / "labels.dev") as file:
        assert held == pickle.load(file)
    for item in held.values():
        official.frames(tmp_path / "features" / "fullFrame-210x260px" / item["name"], 1)
    read = read_phoenix14t(tmp_path)
    assert (read.named["dev"], len(read.clips)) == (519, 519)
    assert all(clip.video.is_dir() for clip in read.clips)
    assert len(read.problems[LENGTH_DIFFERS]) == sum(item["length"] != 1 for item in held.values())


@needs_real
def test_the_real_csv_of_phoenix14t_agrees_with_itself(tmp_path: Path) -> None:
    source = REAL / "phoenix14t" / "PHOENIX-2014-T.sample.corpus.csv"
    shutil.copyfile(source, tmp_path / "PHOENIX-2014-T.train.corpus.csv")
    read = read_phoenix14t(tmp_path)
    lines = source.read_text(encoding="utf-8").splitlines()[1:]
    assert len(read.clips) == len(lines) == 200
    assert [clip.text for clip in read.clips] == [line.split("|")[-1] for line in lines]


@needs_real
def test_the_real_files_of_csl_daily_give_the_published_counts(tmp_path: Path) -> None:
    for name in ("labels.dev", "split_1.txt"):
        shutil.copyfile(REAL / "csl_daily" / name, tmp_path / name)
    read = read_csl_daily(tmp_path)
    assert (read.named["dev"], len(read.clips)) == (1077, 1077)
    assert not any(kind.startswith("named by") for kind in read.problems)
    info = []
    for line in (tmp_path / "split_1.txt").read_text().splitlines()[1:]:
        name = line.partition("|")[0]
        info.append(official.csl_item("S000007_P0003_T00" if name == "S000005_P0004_T00" else name, "好。"))
    (tmp_path / "csl2020ct_v2.pkl").write_bytes(pickle.dumps({"info": info}))
    read = read_csl_daily(tmp_path)
    assert read.named == {"train": 18401, "dev": 1077, "test": 1176}
    assert len(read.clips) == 18401 + 1077 + 1176 - 1
    assert read.problems["named by split_1.txt and not by csl2020ct_v2.pkl"] == ["S000005_P0004_T00"]


@needs_real
def test_both_real_dialects_of_how2sign_give_the_same_published_dev_set(tmp_path: Path) -> None:
    read = []
    for name in ("how2sign_realigned_val.csv", "how2sign_realigned_val.tab.csv"):
        (tmp_path / name).mkdir()
        shutil.copyfile(REAL / "how2sign" / name, tmp_path / name / "how2sign_realigned_val.csv")
        found = read_how2sign(tmp_path / name)
        assert set(found.problems) == {NO_ANNOTATION, ABSENT, DAMAGED}
        assert len(found.problems[DAMAGED]) == 2  # UTF-8 that was read as another encoding: "non-verbal\u00e2\x80\x99s"
        read.append([(clip.id, clip.split, clip.text) for clip in found.clips])
    assert len(read[0]) == 1741
    assert read[0] == read[1]
    assert any(text.endswith('and then the 2".') for _, _, text in read[0])
