"""Each corpus is prepared from a folder of its published structure: counts, times and sentences are exact."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from slt_cache.corpora.base import Clip
from slt_cache.corpora.manifest import read_manifest
from tests.helpers import published
from tests.helpers.commands import TINY, slt_cache

Row = tuple[str, str, float | None, float | None, str]


def prepared(corpus: str, root: Path, *words: Any, code: int = 0) -> tuple[list[Clip], dict[str, int]]:
    """The clips and the number of problems of each kind."""
    run = root.parent / "run"
    ran = slt_cache("prepare", corpus, "--root", root, "--run", run, "--config", TINY, "--json", *words)
    assert ran.code == code, ran.err
    return read_manifest(run / "manifest.tsv"), json.loads(ran.out)["problems"]


def rows(clips: list[Clip]) -> list[Row]:
    return [(clip.split, clip.video.name, clip.start, clip.end, clip.text) for clip in clips]


def test_openasl_is_cut_from_its_full_videos(tmp_path: Path) -> None:
    root = published.openasl(tmp_path / "OpenASL")
    published.videos(root / "raw-video", "-aBc_dEf012", "bbbbbbbbbbb", "ccccccccccc")
    clips, problems = prepared("openasl", root)
    assert rows(clips) == [
        ("train", "-aBc_dEf012.mp4", 0.1, 0.466, 'We say "hello".'),
        ("train", "-aBc_dEf012.mp4", 0.5, 0.9, "And, then?"),
        ("dev", "bbbbbbbbbbb.mp4", 0.2, 0.6, "Good news."),
        ("test", "ccccccccccc.mp4", 0.0, 0.84, "We are done."),
    ]
    assert clips[0].id == "-aBc_dEf012-00:00:00.100-00:00:00.466"
    assert {clip.box for clip in clips} == {(0.25, 0.0, 0.75, 1.0)}
    assert set(problems) == {"not the published count"}
    assert {clip.box for clip in prepared("openasl", root, "--set", "corpus.boxes=false")[0]} == {None}


def test_boxes_of_openasl_end_at_the_frame_and_odd_ones_are_listed(tmp_path: Path) -> None:
    root = published.openasl(tmp_path / "OpenASL")
    published.videos(root, "-aBc_dEf012", "bbbbbbbbbbb", "ccccccccccc")
    path = root / "data" / "bbox-v1.0.json"
    first, second, third, _ = json.loads(path.read_text())
    path.write_text(json.dumps({first: [-0.1, 0, 0.5, 1.2], second: [0.5, 0, 0.5, 1], third: [10**400, 0, 1, 1]}))
    clips, problems = prepared("openasl", root)
    assert [clip.box for clip in clips] == [(0.0, 0.0, 0.5, 1.0), None, None, None]
    assert problems["clip without a box (whole frames are read)"] == 3
    path.unlink()
    clips, problems = prepared("openasl", root)
    assert ({clip.box for clip in clips}, problems["annotation file not found"]) == ({None}, 1)


@pytest.mark.parametrize("colon", [":", "%", "-", "_"])
def test_clips_of_openasl_are_found_whatever_stands_for_the_colons(tmp_path: Path, colon: str) -> None:
    root = published.openasl(tmp_path / "OpenASL")
    names = [f"{video}-{start}-{end}".replace(":", colon) for video, start, end, *_ in published.OPENASL]
    published.videos(root / "video-clip", *names)
    clips, problems = prepared("openasl", root)
    assert [(clip.video.stem, clip.start, clip.box) for clip in clips] == [(name, None, None) for name in names]
    assert set(problems) == {"not the published count"}


def test_glosses_of_openasl_change_nothing(tmp_path: Path) -> None:
    texts = []
    for gloss in ("HELLO", ""):
        root = published.openasl(tmp_path / f"gloss{gloss}" / "OpenASL", gloss)
        prepared("openasl", root, code=1)
        texts.append((root.parent / "run" / "manifest.tsv").read_text().replace(root.parent.name, ""))
    assert texts[0] == texts[1]


def test_odd_rows_of_openasl_are_listed(tmp_path: Path) -> None:
    root = published.openasl(tmp_path / "OpenASL")
    table = root / "data" / "openasl-v1.0.tsv"
    lines = table.read_text(encoding="utf-8").splitlines()
    odd = [lines[1].replace("00:00:00.466\t", "00:00:00.0\t"), lines[2].replace("train", "other"), lines[3], "x\ty"]
    table.write_text("\n".join([*lines, *odd]) + "\n", encoding="utf-8")
    published.videos(root, "-aBc_dEf012", "bbbbbbbbbbb")
    _, problems = prepared("openasl", root, code=1)
    assert problems == {
        "not the published count": 3,
        "row that cannot be read (left out)": 3,
        "named twice (the first is taken)": 1,
        "named but not on disk": 1,
    }


def test_csl_news_keeps_each_programme_in_one_split(tmp_path: Path) -> None:
    root = published.csl_news(tmp_path / "CSL_News")
    names = [item["video"][:-4] for item in json.loads(next(root.rglob("*.json")).read_text(encoding="utf-8"))]
    published.videos(root / "rgb_format", *names)
    clips, problems = prepared("csl-news", root)
    assert sorted((clip.id, clip.text) for clip in clips) == [(name, f"第{n}条。") for n, name in enumerate(names)]
    assert len({(clip.id.rsplit("_", 2)[0], clip.split) for clip in clips}) == 3
    assert {clip.split for clip in clips} == {"train", "dev", "test"}
    assert problems == {}


@pytest.mark.parametrize("header", [True, False])
def test_dailymoth_is_read_with_and_without_header_and_prefers_videos_without_blur(
    tmp_path: Path, header: bool
) -> None:
    root = published.dailymoth(tmp_path / "dailymoth-70h")
    for path in (root / "manifests").iterdir():
        path.write_text(path.read_text() if header else path.read_text().partition("\n")[2])
    for kind in ("blurred_clips", "unblurred_clips"):
        published.videos(root / kind / "videos" / "00000", *(f"000000{number}-2022.6.14" for number in range(3)))
    clips, _ = prepared("dailymoth", root)
    assert rows(clips) == [
        (split, f"000000{n}-2022.6.14.mp4", None, None, f"News number {n}, of today.")
        for n, split in enumerate(("train", "dev", "test"))
    ]
    assert all("unblurred_clips" in clip.video.parts for clip in clips)


def test_bobsl_takes_the_captions_aligned_to_the_signing_where_there_are_some(tmp_path: Path) -> None:
    root = published.bobsl(tmp_path / "bobsl")
    published.videos(root / "videos", "5085344787448740525", "5085", "6")
    audio = [
        ("train", "5085344787448740525.mp4", 0.1, 0.4, "Hello."),
        ("train", "5085344787448740525.mp4", 0.4, 0.96, "This is 5085344787448740525."),
        ("dev", "5085.mp4", 0.1, 0.4, "Hello."),
        ("dev", "5085.mp4", 0.4, 0.96, "This is 5085."),
        ("test", "6.mp4", 0.1, 0.4, "Hello."),
        ("test", "6.mp4", 0.4, 0.96, "This is 6."),
    ]
    signing = [("dev", "5085.mp4", 0.25, 0.5, "Hello."), ("dev", "5085.mp4", 0.5, 1.0, "This is 5085.")]
    clips, problems = prepared("bobsl", root)
    assert rows(clips) == [*audio[:2], *signing, *audio[4:]]
    assert problems["split that is not train, dev or test (left out)"] == 1
    assert problems["sentence of several splits"] == 2
    assert rows(prepared("bobsl", root, "--set", "corpus.alignment=audio")[0]) == audio
    assert rows(prepared("bobsl", root, "--set", "corpus.alignment=signing")[0]) == signing


def test_captions_of_wmt_slt_are_clips_and_its_folders_may_be_splits(tmp_path: Path) -> None:
    root = published.wmt_slt(tmp_path / "wmt")
    published.videos(root / "focusnews" / "videos", "focusnews.043", "focusnews.044", "focusnews.045")
    clips, problems = prepared("wmt-slt", root)
    assert sorted((clip.video.name, clip.start, clip.end, clip.text) for clip in clips)[:2] == [
        ("focusnews.043.mp4", 0.04, 0.48, "Guten Abend, focusnews.043"),
        ("focusnews.043.mp4", 0.48, 0.9, "ja."),
    ]
    assert {clip.split for clip in clips} == {"train", "dev", "test"}
    for split, name in (("dev", "focusnews.044"), ("test", "focusnews.045")):
        folder = root / split / "dsgs-de"
        for kind, suffix in (("subtitles", "srt"), ("videos", "mp4")):
            (folder / kind).mkdir(parents=True)
            shutil.move(root / "focusnews" / kind / f"{name}.{suffix}", folder / kind)
    clips, _ = prepared("wmt-slt", root)
    assert {(clip.split, clip.video.stem) for clip in clips} == {
        ("train", "focusnews.043"),
        ("dev", "focusnews.044"),
        ("test", "focusnews.045"),
    }
    assert problems


def test_isign_keeps_each_video_in_one_split(tmp_path: Path) -> None:
    root = published.isign(tmp_path / "iSign")
    published.videos(
        root / "iSign-videos_v1.1", *(f"{name}-{n}" for name in ("1782bea75c7d", "f0", "a1") for n in (1, 2))
    )
    clips, _ = prepared("isign", root)
    assert {clip.id: clip.text for clip in clips}["f0-2"] == 'Video f0, part "2".'
    assert len({(clip.id[:-2], clip.split) for clip in clips}) == 3


def test_youtube_asl_reads_the_listed_videos_with_their_english_captions(tmp_path: Path) -> None:
    root = published.youtube_asl(tmp_path / "yt")
    published.videos(root / "videos", "-aBc_dEf012", "bbbbbbbbbbb", "ccccccccccc", "eeeeeeeeeee")
    clips, problems = prepared("youtube-asl", root)
    assert sorted((clip.video.stem, clip.start, clip.end, clip.text) for clip in clips) == [
        ("-aBc_dEf012", 0.1, 0.9, "Hello -aBc_dEf012."),
        ("bbbbbbbbbbb", 0.1, 0.9, "Hello bbbbbbbbbbb."),
        ("ccccccccccc", 0.16, 6.0, "hello everyone and welcome back"),
    ]
    assert {clip.split for clip in clips} == {"train", "dev", "test"}
    assert problems == {
        "listed video not on disk (left out)": 1,
        "video that is not listed (left out)": 1,
        "lines of a rolling caption, repeated (merged)": 4,
        "time past the end of the video (cut there)": 1,
        "begins past the end of the video (left out)": 1,
    }


def test_youtube_sl_25_is_read_by_sign_language(tmp_path: Path) -> None:
    root = published.youtube_sl_25(tmp_path / "yt")
    published.videos(root, "-aBc_dEf012", "bbbbbbbbbbb", "ccccccccccc", "ddddddddddd")
    assert len(prepared("youtube-sl-25", root)[0]) == 4
    published.written(
        root / "youtube-sl-25-metadata.csv", (root / "youtube-sl-25-metadata.csv").read_text() + "x,zzz\n"
    )
    published.videos(root, "x")
    for language in ("en", "mt"):
        published.written(root / f"x.{language}.vtt", "WEBVTT\n\n00:00.100 --> 00:00.900\nOne.\n")
    clips, problems = prepared("youtube-sl-25", root)
    several = problems["captions in several languages, of which corpus.captions names none (left out)"]
    assert (len(clips), several) == (4, 1)
    clips, _ = prepared("youtube-sl-25", root, "--set", "corpus.sign_language=gsg")
    assert {clip.text[11:-1] for clip in clips} == {"bbbbbbbbbbb", "ccccccccccc", "ddddddddddd"}
    ran = slt_cache(
        "prepare",
        "youtube-sl-25",
        "--root",
        root,
        "--run",
        tmp_path / "run",
        "--config",
        TINY,
        "--set",
        "corpus.sign_language=dgs",
    )
    assert (ran.code, "Choose one of ase, gsg, zzz." in ran.err) == (2, True)


@pytest.mark.parametrize("corpus", ["uni-sign", "openasl", "how2sign"])
def test_labels_of_uni_sign_stand_in_for_the_official_files(tmp_path: Path, corpus: str) -> None:
    root = published.uni_sign(tmp_path / "labels")
    published.videos(root / "rgb_format", "a_1-8-rgb_front", "-b_2", "c:3", "d_4")
    clips, problems = prepared(corpus, root)
    assert [(clip.split, clip.id, clip.video.stem, clip.text) for clip in clips] == [
        ("train", "a_1-8-rgb_front", "a_1-8-rgb_front", "Sentence a_1-8-rgb_front."),
        ("train", "-b_2", "-b_2", "Sentence -b_2."),
        ("dev", "c:3", "c:3", "Sentence c:3."),
        ("test", "d_4", "d_4", "Sentence d_4."),
    ]
    assert not problems.keys() - {"not the published count", "language"}


def test_the_video_of_a_label_may_have_another_name(tmp_path: Path) -> None:
    root = published.uni_sign(tmp_path / "labels", lambda name: {"video_path": f"train/{name[0]}.x.mp4"})
    published.videos(root, "a.x", "-.x", "c.x", "d.x")
    assert [clip.video.name for clip in prepared("uni-sign", root)[0]] == ["a.x.mp4", "-.x.mp4", "c.x.mp4", "d.x.mp4"]


MAKERS: dict[str, Callable[[Path], Path]] = {
    "openasl": published.openasl,
    "csl-news": published.csl_news,
    "dailymoth": published.dailymoth,
    "bobsl": published.bobsl,
    "wmt-slt": published.wmt_slt,
    "isign": published.isign,
    "youtube-asl": published.youtube_asl,
    "youtube-sl-25": published.youtube_sl_25,
    "uni-sign": published.uni_sign,
}


@pytest.mark.parametrize("corpus", MAKERS)
def test_the_annotation_alone_is_written_and_the_missing_videos_are_an_error(tmp_path: Path, corpus: str) -> None:
    clips, _ = prepared(corpus, MAKERS[corpus](tmp_path / "root"), code=1)
    assert clips


@pytest.mark.parametrize("corpus", MAKERS)
def test_an_empty_folder_is_refused_with_what_is_looked_for(tmp_path: Path, corpus: str) -> None:
    (tmp_path / "root").mkdir()
    ran = slt_cache("prepare", corpus, "--root", tmp_path / "root", "--run", tmp_path / "run")
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert f"{tmp_path / 'root'}: no " in ran.err


def test_other_names_of_columns_and_lists_are_read(tmp_path: Path) -> None:
    root = published.isign(tmp_path / "isign")
    (root / "iSign_v1.1.csv").rename(root / "iSign_v1.2.csv")
    table = root / "iSign_v1.2.csv"
    table.write_text(table.read_text().replace("uid,text", "id,translation"))
    assert len(prepared("isign", root, code=1)[0]) == 6
    root = published.openasl(tmp_path / "openasl")
    table = root / "data" / "openasl-v1.0.tsv"
    table.write_text(table.read_text().replace("raw-text", "text"))
    assert len(prepared("openasl", root, code=1)[0]) == 4
    table.write_text(table.read_text().replace("\ttext", "\tsentences"))
    ran = slt_cache("prepare", "openasl", "--root", root, "--run", tmp_path / "run")
    assert (ran.code, "the header lacks raw-text or raw_text or text" in ran.err) == (2, True)
    root = published.youtube_asl(tmp_path / "yt")
    (root / "youtube_asl_video_ids.txt").rename(root / "ids.txt")
    assert len(prepared("youtube-asl", root, code=1)[0]) == 4


def test_a_name_that_no_file_can_have_is_a_clip_without_video(tmp_path: Path) -> None:
    name = f"{'long' * 200}_20201113_0-287_1"
    labels = tmp_path / "root" / "CSL_News_Labels.json"
    labels.parent.mkdir()
    labels.write_text(json.dumps([{"video": f"{name}.mp4", "text": "第1条。"}]), encoding="utf-8")
    ran = slt_cache("prepare", "csl-news", "--root", labels.parent, "--run", tmp_path / "run")
    assert ran.code == 1
    assert "named but not on disk: 1" in ran.err
    assert (tmp_path / "run" / "prepare.html").is_file()
