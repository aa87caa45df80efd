"""CSL-Daily: files as they are on disk in, clips and every irregularity out."""

import gzip
import pickle
import shutil
from pathlib import Path

import pytest

from slt_cache.corpora.csl_daily import read_csl_daily
from slt_cache.corpora.lengths import UNREADABLE_VIDEO
from slt_cache.corpora.official import (
    LENGTH_DIFFERS,
    UNNAMED,
)
from slt_cache.errors import InputError
from tests.helpers import official


def test_csl_daily_is_read_from_its_official_files(csl: Path) -> None:
    read = read_csl_daily(csl)
    assert official.texts(read.clips) == {name: text for name, (_, text) in official.CSL.items()}
    assert [clip.split for clip in read.clips] == [split for split, _ in official.CSL.values()]
    assert read.clips[0].video == csl / "sentence" / "frames_512x512" / "S000000_P0000_T00"
    assert read.clips[0].signer == "4"
    assert read.problems == {}


def test_csl_dailys_name_without_annotation_is_reported_on_both_sides(csl: Path) -> None:
    path = csl / "sentence_label" / "csl2020ct_v2.pkl"
    held = pickle.loads(path.read_bytes())
    held["info"].append(official.csl_item("S000007_P0003_T00", "多了。"))
    path.write_bytes(gzip.compress(pickle.dumps(held)))
    official.append(csl / "sentence_label" / "split_1.txt", "S000005_P0004_T00|train")
    official.frames(csl / "sentence" / "frames_512x512" / "S000007_P0003_T00")
    read = read_csl_daily(csl)
    assert read.problems == {
        "named by split_1.txt and not by csl2020ct_v2.pkl": ["S000005_P0004_T00"],
        "named by csl2020ct_v2.pkl and not by split_1.txt": ["S000007_P0003_T00"],
    }
    assert read.named["train"] == 3
    assert len(read.clips) == 4


@pytest.mark.parametrize("folder", ["sentence_frames-512x512", "frames_512x512"])
def test_csl_dailys_frames_may_lie_in_other_folders(csl: Path, folder: str) -> None:
    (csl / "sentence" / "frames_512x512").rename(csl / folder)
    (csl / "sentence").rmdir()
    read = read_csl_daily(csl.parent)
    assert {clip.video.parent for clip in read.clips} == {csl / folder}
    assert read.problems == {}


def test_csl_dailys_cropped_videos_are_taken_and_counted(csl: Path) -> None:
    shutil.rmtree(csl / "sentence")
    names = list(official.CSL)
    for name, count in zip(names, (3, 3, 5), strict=False):
        official.video(csl / "sentence-crop" / f"{name}.mp4", count)
    (csl / "sentence-crop" / f"{names[3]}.mp4").write_text("not a video")
    official.video(csl / "sentence-crop" / "S009999_P0000_T00.mp4", 2)
    read = read_csl_daily(csl)
    assert [clip.video.name for clip in read.clips] == [f"{name}.mp4" for name in names]
    assert read.problems[LENGTH_DIFFERS] == [f"{names[2]}: annotation 3, on disk 5"]
    assert read.problems[UNNAMED] == ["S009999_P0000_T00"]
    assert names[3] in read.problems[UNREADABLE_VIDEO][0]


def test_the_video_map_stands_in_for_the_pickle(csl: Path) -> None:
    labels = csl / "sentence_label"
    (labels / "csl2020ct_v2.pkl").unlink()
    rows = ["index|name|length|gloss|char|word|postag"]
    rows += [f"{i}|{n}|3|他|{' '.join(t)}|x|n" for i, (n, (_, t)) in enumerate(official.CSL.items())]
    (labels / "video_map.txt").write_text("\n".join(rows) + "\n", encoding="utf-8")
    read = read_csl_daily(csl)
    assert official.texts(read.clips) == {name: text for name, (_, text) in official.CSL.items()}
    assert read.problems == {}


def test_csl_dailys_labels_without_paths_are_read(csl: Path) -> None:
    shutil.rmtree(csl / "sentence_label")
    for wanted in ("train", "dev", "test"):
        items = {
            n: {"name": n, "gloss": "他", "text": t, "length": 3} for n, (s, t) in official.CSL.items() if s == wanted
        }
        official.write_labels(csl / f"labels.{wanted}", items)
    read = read_csl_daily(csl)
    assert official.texts(read.clips) == {name: text for name, (_, text) in official.CSL.items()}
    assert read.problems == {}


def test_csl_daily_without_its_split_file_is_refused(csl: Path) -> None:
    (csl / "sentence_label" / "split_1.txt").unlink()
    with pytest.raises(InputError, match=r"split_1\.txt"):
        read_csl_daily(csl)
