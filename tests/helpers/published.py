"""Small folders with the structure of corpora as they are published, without videos unless they are asked for. All
sentences and names are made up."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.helpers.official import video, write_labels
from tests.helpers.subtitles import ROLLING, srt, vtt

OPENASL_HEADER = ["vid", "yid", "start", "end", "raw-text", "tokenized-text", "gloss", "split"]
OPENASL = [
    ("-aBc_dEf012", "00:00:00.100", "00:00:00.466", 'We say ""hello"".', "train"),
    ("-aBc_dEf012", "00:00:00.500", "00:00:00.900", "And, then?", "train"),
    ("bbbbbbbbbbb", "00:00:00.200", "00:00:00.600", "Good news.", "valid"),
    ("ccccccccccc", "00:00:00.000", "00:00:00.840", "We are done.", "test"),
]
"""Video, times, sentence as its table quotes it, and split."""


def openasl(root: Path, gloss: str = "GLOSS") -> Path:
    rows = [
        [
            f"{video}-{start}-{end}",
            video,
            start,
            end,
            f'"{text}"' if '"' in text else text,
            text.lower().replace('"', ""),
            gloss,
            split,
        ]
        for video, start, end, text, split in OPENASL
    ]
    written(root / "data" / "openasl-v1.0.tsv", "\n".join("\t".join(row) for row in [OPENASL_HEADER, *rows]) + "\n")
    boxes = {row[0]: [0.25, 0.0, 0.75, 1.0] for row in rows}
    written(root / "data" / "bbox-v1.0.json", json.dumps(boxes))
    return root


CSL_NEWS = tuple(
    f"Common-Concerns_202011{day}_{first}-{first + 90}_{first}" for day in (13, 14, 15) for first in (0, 100)
)


def csl_news(root: Path) -> Path:
    items = [{"video": f"{name}.mp4", "pose": f"{name}.pkl", "text": f"第{n}条。"} for n, name in enumerate(CSL_NEWS)]
    written(root / "data" / "train" / "CSL_News_Labels.json", json.dumps(items, ensure_ascii=False))
    return root


def dailymoth(root: Path) -> Path:
    for number, split in enumerate(("train", "val", "test")):
        line = f"000000{number}-2022.6.14\t0.9{number}\tNews number {number}, of today."
        written(root / "manifests" / f"{split}.tsv", f"video_name\tduration\tcaption\n{line}\n")
    return root


def bobsl(root: Path) -> Path:
    episodes = {"train": ["5085344787448740525"], "val": ["5085"], "test": ["6"], "challenge": ["7"]}
    written(root / "metadata" / "subset2episode.json", json.dumps(episodes))
    for name in ("5085344787448740525", "5085", "6", "7"):
        heard = vtt([("00:00:00.100", "00:00:00.400", "Hello."), ("00:00:00.400", "00:00:00.960", f"This is {name}.")])
        written(root / "subtitles" / "audio-aligned-heuristic-correction" / f"{name}.vtt", heard)
    signed = vtt([("00:00:00.250", "00:00:00.500", "Hello."), ("00:00:00.500", "00:00:01.000", "This is 5085.")])
    written(root / "subtitles" / "manually-aligned" / "5085.vtt", signed)
    return root


def wmt_slt(root: Path) -> Path:
    for name in ("focusnews.043", "focusnews.044", "focusnews.045"):
        cues = [("00:00:00,040", "00:00:00,480", f"Guten Abend, {name}"), ("00:00:00,480", "00:00:00,900", "ja.")]
        written(root / "focusnews" / "subtitles" / f"{name}.srt", srt(cues))
    return root


ISIGN = tuple(f"{name}-{n}" for name in ("1782bea75c7d", "f0", "a1") for n in (1, 2))


def isign(root: Path) -> Path:
    lines = [f'{name},"Video {name[:-2]}, part ""{name[-1]}""."' for name in ISIGN]
    written(root / "iSign_v1.1.csv", "\n".join(["uid,text", *lines]) + "\n")
    return root


def youtube_asl(root: Path) -> Path:
    written(root / "youtube_asl_video_ids.txt", "-aBc_dEf012\nbbbbbbbbbbb\nccccccccccc\nddddddddddd\n")
    for name in ("-aBc_dEf012", "bbbbbbbbbbb"):
        written(root / "videos" / f"{name}.en.vtt", vtt([("00:00:00.100", "00:00:00.900", f"Hello {name}.")]))
    written(root / "videos" / "ccccccccccc.en-US.vtt", ROLLING)
    written(root / "videos" / "ccccccccccc.fr.vtt", vtt([("00:00:00.100", "00:00:00.900", "Bonjour.")]))
    return root


def youtube_sl_25(root: Path) -> Path:
    written(root / "youtube-sl-25-metadata.csv", "-aBc_dEf012,ase\nbbbbbbbbbbb,gsg\nccccccccccc,gsg\nddddddddddd,gsg\n")
    for name, language in (
        ("-aBc_dEf012", "en"),
        ("bbbbbbbbbbb", "de"),
        ("ccccccccccc", "de-DE"),
        ("ddddddddddd", "de"),
    ):
        written(root / f"{name}.{language}.vtt", vtt([("00:00:00.100", "00:00:00.900", f"Guten Tag, {name}.")]))
    return root


def uni_sign(root: Path, extra: Callable[[str], dict[str, Any]] = lambda name: {}) -> Path:
    """Label files as Uni-Sign has them: the dev split is called `val` or `dev`, glosses are lists."""
    for split, names in {"train": ["a_1-8-rgb_front", "-b_2"], "val": ["c:3"], "test": ["d_4"]}.items():
        items = {
            name: {
                "name": name,
                "gloss": ["X"],
                "text": f"Sentence {name}.",
                "video_path": f"{name}.mp4",
                **extra(name),
            }
            for name in names
        }
        write_labels(root / f"labels.{split}", items)
    return root


def written(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def videos(folder: Path, *names: str) -> None:
    """Writes a video of one second for each name, each with other pictures."""
    for number, name in enumerate(names):
        video(folder / f"{name}.mp4", 25, first=number * 10)
