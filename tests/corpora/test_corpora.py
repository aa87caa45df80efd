"""The official corpora: files as they lie on disk in, clips and everything odd about them out."""

import gzip
import pickle
import shutil
from pathlib import Path

import pytest

from slt_cache.corpora.base import Clip
from slt_cache.corpora.csl_daily import read_csl_daily
from slt_cache.corpora.media import UNREADABLE_VIDEO
from slt_cache.corpora.official import (
    ABSENT,
    ALSO_THERE,
    BREAK_REPLACED,
    EMPTY_SENTENCE,
    LENGTH_DIFFERS,
    NAMED_TWICE,
    NO_ANNOTATION,
    NO_FRAME,
    STRAY_FILE,
    UNNAMED,
    UNREADABLE_ROW,
)
from slt_cache.corpora.phoenix14t import read_phoenix14t
from slt_cache.errors import InputError
from tests.helpers import official


def texts(clips: list[Clip]) -> dict[str, str]:
    return {clip.id: clip.text for clip in clips}


def append(path: Path, line: str) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(line + "\n")


@pytest.fixture
def phoenix(tmp_path: Path) -> Path:
    return official.phoenix(tmp_path / "PHOENIX-2014-T")


@pytest.fixture
def train_csv(phoenix: Path) -> Path:
    return phoenix / "annotations" / "manual" / "PHOENIX-2014-T.train.corpus.csv"


def test_phoenix14t_is_read_from_its_official_files(phoenix: Path) -> None:
    read = read_phoenix14t(phoenix)
    assert [clip.split for clip in read.clips] == ["train", "train", "dev", "test"]
    assert read.clips[2] == Clip(
        official.phoenix_id("dev", 0),
        "dev",
        official.phoenix_frames(phoenix, "dev", 0),
        None,
        None,
        "mäßig kühl",
        "Signer01",
    )
    assert read.named == {"train": 2, "dev": 1, "test": 1}
    assert read.problems == {}
    assert [path.name for path in read.sources] == [f"PHOENIX-2014-T.{s}.corpus.csv" for s in ("train", "dev", "test")]


@pytest.mark.parametrize("above", ["PHOENIX-2014-T-release-v3", "a/b"])
def test_the_root_may_lie_up_to_two_folders_above(tmp_path: Path, above: str) -> None:
    official.phoenix(tmp_path / "x" / above / "PHOENIX-2014-T" if "/" not in above else tmp_path / "x" / above)
    assert len(read_phoenix14t(tmp_path / "x").clips) == 4


def test_annotations_and_frames_may_lie_directly_in_the_root(phoenix: Path, tmp_path: Path) -> None:
    flat = tmp_path / "flat"
    flat.mkdir()
    for csv in (phoenix / "annotations" / "manual").iterdir():
        csv.rename(flat / csv.name)
    for split in ("train", "dev", "test"):
        (phoenix / "features" / "fullFrame-210x260px" / split).rename(flat / split)
    read = read_phoenix14t(flat)
    assert (len(read.clips), read.problems) == (4, {})


def test_other_pictures_of_the_release_are_not_taken_for_the_full_frames(phoenix: Path) -> None:
    (phoenix / "features" / "fullFrame-210x260px").rename(phoenix / "features" / "trackedRightHand-92x132px")
    read = read_phoenix14t(phoenix)
    assert len(read.problems[ABSENT]) == 4
    assert not any("tracked" in str(clip.video) for clip in read.clips)


def test_frames_in_the_folder_1_are_found_too(phoenix: Path) -> None:
    folder = official.phoenix_frames(phoenix, "dev", 0)
    (folder / "1").mkdir()
    for frame in folder.glob("*.png"):
        frame.rename(folder / "1" / frame.name)
    [clip] = [clip for clip in read_phoenix14t(phoenix).clips if clip.split == "dev"]
    assert clip.video == folder / "1"


def test_the_stray_profile_is_no_frame(phoenix: Path) -> None:
    name = "createDnnTrainingLabels-profile.py.lprof"
    official.phoenix_frames(phoenix, "dev", 0).joinpath(name).touch()
    (phoenix / "features" / "fullFrame-210x260px" / "dev" / name).touch()
    read = read_phoenix14t(phoenix)
    assert read.problems == {STRAY_FILE: [f"{official.phoenix_id('dev', 0)}/{name}"]}
    assert read.findings["longest"][official.phoenix_id("dev", 0)] == 3


def test_what_is_absent_empty_double_or_unnamed_is_listed(phoenix: Path, train_csv: Path) -> None:
    append(train_csv, official.phoenix_line("train", 2, "kein bild"))
    append(train_csv, official.phoenix_line("train", 3, "  "))
    append(train_csv, official.phoenix_line("train", 0, "noch einmal"))
    append(train_csv, official.phoenix_line("train", 4, "leerer ordner"))
    append(train_csv, "halb|eine zeile")
    for number in (3, 4, 5):
        official.phoenix_frames(phoenix, "train", number).mkdir()
    read = read_phoenix14t(phoenix)
    assert read.problems[ABSENT] == [official.phoenix_id("train", 2), official.phoenix_id("train", 4)]
    assert read.problems[EMPTY_SENTENCE] == [official.phoenix_id("train", 3)]
    assert read.problems[NO_FRAME] == [official.phoenix_id("train", 4)]
    assert read.problems[UNNAMED] == [f"train/{official.phoenix_id('train', 5)}"]
    assert "line 6" in read.problems[NAMED_TWICE][0]
    assert read.problems[UNREADABLE_ROW] == [f"{train_csv.name} line 8: 2 columns where the header has 7"]
    assert [clip.text for clip in read.clips if clip.split == "train"] == official.SENTENCES["train"]


def test_a_clip_of_two_splits_stays_in_the_first(phoenix: Path) -> None:
    dev = phoenix / "annotations" / "manual" / "PHOENIX-2014-T.dev.corpus.csv"
    append(dev, official.phoenix_line("train", 0, "regen im süden"))
    read = read_phoenix14t(phoenix)
    assert "of dev, first in train" in read.problems[NAMED_TWICE][0]
    assert len(read.clips) == 4


def test_the_sentence_stays_as_it_is_but_for_tabs_and_line_breaks(phoenix: Path, train_csv: Path) -> None:
    decomposed = ' am "montag"  scho\u0308n | '.replace("|", "")
    train_csv.write_text(
        f"{official.PHOENIX_HEADER}\r\n{official.phoenix_line('train', 0, decomposed)}\r\n"
        f"{official.phoenix_line('train', 1, 'a' + chr(9) + 'b')}\r\n",
        encoding="utf-8",
        newline="",
    )
    read = read_phoenix14t(phoenix)
    assert [clip.text for clip in read.clips if clip.split == "train"] == [decomposed, "a b"]
    assert read.problems[BREAK_REPLACED] == [official.phoenix_id("train", 1)]


def test_labels_are_read_where_the_official_files_are_missing(phoenix: Path) -> None:
    shutil.rmtree(phoenix / "annotations")
    for split, sentences in official.SENTENCES.items():
        items = {}
        for number, text in enumerate(sentences):
            name = f"{split}/{official.phoenix_id(split, number)}"
            paths = [f"{name}/images{frame:04d}.png" for frame in range(1, 4)]
            items[name] = {"name": name, "gloss": "REGEN", "text": text, "length": 3, "imgs_path": paths}
        official.write_labels(phoenix / f"labels.{split}", items)
    read = read_phoenix14t(phoenix)
    assert [clip.text for clip in read.clips] == [text for split in official.SENTENCES.values() for text in split]
    assert read.problems == {}
    for split in official.SENTENCES:
        (phoenix / f"labels.{split}").rename(phoenix / split)
    assert read_phoenix14t(phoenix).clips == read.clips


def test_labels_beside_the_official_files_are_compared_with_them_and_the_lengths_with_the_disk(phoenix: Path) -> None:
    first, other = official.phoenix_id("train", 0), official.phoenix_id("train", 7)
    items = {f"train/{name}": {"name": f"train/{name}", "text": "x", "length": 9} for name in (first, other)}
    official.write_labels(phoenix / "labels.train", items)
    read = read_phoenix14t(phoenix)
    assert read.problems[LENGTH_DIFFERS] == [f"{first}: annotation 9, on disk 3"]
    assert read.problems["named by labels.train and not by PHOENIX-2014-T.train.corpus.csv"] == [other]
    second = official.phoenix_id("train", 1)
    assert read.problems["named by PHOENIX-2014-T.train.corpus.csv and not by labels.train"] == [second]
    assert texts(read.clips)[first] == "regen im süden"


def test_a_missing_split_is_named_and_no_annotation_at_all_is_refused(phoenix: Path, train_csv: Path) -> None:
    train_csv.unlink()
    assert "train" in read_phoenix14t(phoenix).problems[NO_ANNOTATION][0]
    shutil.rmtree(phoenix / "annotations")
    with pytest.raises(InputError, match="up to two folders deeper"):
        read_phoenix14t(phoenix)


def test_a_second_copy_of_an_annotation_is_said(phoenix: Path) -> None:
    for name in ("one", "two"):
        shutil.copytree(phoenix / "annotations", phoenix.parent / "both" / name / "annotations")
    assert "one/annotations" in read_phoenix14t(phoenix.parent / "both").problems[ALSO_THERE][0]


@pytest.mark.parametrize("names", ["../x", "a/b", "", ".", "a\0b", "a\u2028b"])
def test_a_name_that_is_no_name_is_a_row_that_cannot_be_read(phoenix: Path, train_csv: Path, names: str) -> None:
    append(train_csv, f"{names}|v|-1|-1|s|G|ein satz")
    assert len(read_phoenix14t(phoenix).problems[UNREADABLE_ROW]) == 1


@pytest.fixture
def csl(tmp_path: Path) -> Path:
    return official.csl(tmp_path / "CSL-Daily")


def test_csl_daily_is_read_from_its_official_files(csl: Path) -> None:
    read = read_csl_daily(csl)
    assert texts(read.clips) == {name: text for name, (_, text) in official.CSL.items()}
    assert [clip.split for clip in read.clips] == [split for split, _ in official.CSL.values()]
    assert read.clips[0].video == csl / "sentence" / "frames_512x512" / "S000000_P0000_T00"
    assert read.clips[0].signer == "4"
    assert read.problems == {}


def test_csl_dailys_name_without_annotation_is_reported_on_both_sides(csl: Path) -> None:
    path = csl / "sentence_label" / "csl2020ct_v2.pkl"
    held = pickle.loads(path.read_bytes())
    held["info"].append(official.csl_item("S000007_P0003_T00", "多了。"))
    path.write_bytes(gzip.compress(pickle.dumps(held)))
    append(csl / "sentence_label" / "split_1.txt", "S000005_P0004_T00|train")
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
    assert texts(read.clips) == {name: text for name, (_, text) in official.CSL.items()}
    assert read.problems == {}


def test_csl_dailys_labels_without_paths_are_read(csl: Path) -> None:
    shutil.rmtree(csl / "sentence_label")
    for wanted in ("train", "dev", "test"):
        items = {
            n: {"name": n, "gloss": "他", "text": t, "length": 3} for n, (s, t) in official.CSL.items() if s == wanted
        }
        official.write_labels(csl / f"labels.{wanted}", items)
    read = read_csl_daily(csl)
    assert texts(read.clips) == {name: text for name, (_, text) in official.CSL.items()}
    assert read.problems == {}


def test_csl_daily_without_its_split_file_is_refused(csl: Path) -> None:
    (csl / "sentence_label" / "split_1.txt").unlink()
    with pytest.raises(InputError, match=r"split_1\.txt"):
        read_csl_daily(csl)
