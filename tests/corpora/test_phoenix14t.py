"""PHOENIX14T: files as they are on disk in, clips and every irregularity out."""

import shutil
from pathlib import Path

import pytest

from slt_cache.corpora.base import Clip
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
    official.append(train_csv, official.phoenix_line("train", 2, "kein bild"))
    official.append(train_csv, official.phoenix_line("train", 3, "  "))
    official.append(train_csv, official.phoenix_line("train", 0, "noch einmal"))
    official.append(train_csv, official.phoenix_line("train", 4, "leerer ordner"))
    official.append(train_csv, "halb|eine zeile")
    for number in (3, 4, 5):
        official.phoenix_frames(phoenix, "train", number).mkdir()
    read = read_phoenix14t(phoenix)
    assert read.problems[ABSENT] == [official.phoenix_id("train", 2), official.phoenix_id("train", 4)]
    assert read.problems[EMPTY_SENTENCE] == [official.phoenix_id("train", 3)]
    assert read.problems[NO_FRAME] == [official.phoenix_id("train", 4)]
    assert read.problems[UNNAMED] == [f"train/{official.phoenix_id('train', 5)}"]
    assert "line 6" in read.problems[NAMED_TWICE][0]
    assert read.problems[UNREADABLE_ROW] == [f"{train_csv.name} line 8: 2 columns, but the header has 7"]
    assert [clip.text for clip in read.clips if clip.split == "train"] == official.SENTENCES["train"]


def test_a_clip_of_two_splits_stays_in_the_first(phoenix: Path) -> None:
    dev = phoenix / "annotations" / "manual" / "PHOENIX-2014-T.dev.corpus.csv"
    official.append(dev, official.phoenix_line("train", 0, "regen im süden"))
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
    assert official.texts(read.clips)[first] == "regen im süden"


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
    official.append(train_csv, f"{names}|v|-1|-1|s|G|ein satz")
    assert len(read_phoenix14t(phoenix).problems[UNREADABLE_ROW]) == 1
