"""Small folders with the structure of the official corpora. All sentences and names are made up."""

import gzip
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from slt_cache.corpora.base import Clip

PHOENIX_HEADER = "name|video|start|end|speaker|orth|translation"
SENTENCES = {"train": ["regen im süden", "schnee fällt"], "dev": ["mäßig kühl"], "test": ["wolken und sonne"]}


def phoenix_id(split: str, number: int) -> str:
    return f"0{number + 1}April_2010_{split}_tagesschau-{number}"


def phoenix_line(split: str, number: int, text: str, gloss: str = "REGEN") -> str:
    name = phoenix_id(split, number)
    return f"{name}|{name}/1/*.png|-1|-1|Signer0{number + 1}|{gloss}|{text}"


def frames(folder: Path, count: int = 3, pattern: str = "images{:04d}.png", first: int = 1) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(first, first + count):
        (folder / pattern.format(number)).touch()


def phoenix(root: Path, gloss: str = "REGEN", frames_each: int = 3) -> Path:
    annotations = root / "annotations" / "manual"
    annotations.mkdir(parents=True)
    for split, texts in SENTENCES.items():
        lines = [phoenix_line(split, number, text, gloss) for number, text in enumerate(texts)]
        csv = annotations / f"PHOENIX-2014-T.{split}.corpus.csv"
        csv.write_text("\n".join([PHOENIX_HEADER, *lines]) + "\n", encoding="utf-8")
        for number in range(len(texts)):
            frames(phoenix_frames(root, split, number), frames_each)
    return root


def phoenix_frames(root: Path, split: str, number: int) -> Path:
    return root / "features" / "fullFrame-210x260px" / split / phoenix_id(split, number)


def write_labels(path: Path, items: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wb") as file:
        pickle.dump(items, file)
    return path


CSL = {
    "S000000_P0000_T00": ("train", "他今年四岁。"),
    "S000001_P0000_T00": ("train", "你去哪里？"),
    "S000020_P0000_T00": ("dev", "今天下雪，很冷。"),
    "S000030_P0000_T00": ("test", "我有3个苹果。"),
}


def csl_item(name: str, text: str, gloss: str = "他", length: int = 3) -> dict[str, Any]:
    item = {"name": name, "length": length, "label_gloss": [gloss], "label_char": list(text), "label_word": [text]}
    return {**item, "label_postag": ["n"], "signer": 4, "time": 0}


def csl(root: Path, gloss: str = "他") -> Path:
    labels = root / "sentence_label"
    labels.mkdir(parents=True)
    info = [csl_item(name, text, gloss) for name, (_, text) in CSL.items()]
    held = {"info": info, "gloss_map": [gloss], "char_map": [], "word_map": [], "postag_map": []}
    (labels / "csl2020ct_v2.pkl").write_bytes(pickle.dumps(held))
    rows = [f"{name}|{split}" for name, (split, _) in CSL.items()]
    (labels / "split_1.txt").write_text("\n".join(["name|split", *rows]) + "\n", encoding="utf-8")
    for name in CSL:
        frames(root / "sentence" / "frames_512x512" / name, 3, "{:06d}.jpg", 0)
    return root


H2S_COLUMNS = ["VIDEO_ID", "VIDEO_NAME", "SENTENCE_ID", "SENTENCE_NAME", "START_REALIGNED", "END_REALIGNED", "SENTENCE"]
H2S_FILES = {"train": "train", "dev": "val", "test": "test"}


def h2s_row(video: str, number: int, start: float, end: float, text: str) -> list[str]:
    return [
        video,
        f"{video}-8-rgb_front",
        f"{video}_{number}",
        f"{video}_{number}-8-rgb_front",
        f"{start}",
        f"{end}",
        text,
    ]


H2S = {
    "train": [h2s_row("-aa", 0, 0.0, 0.4, 'He said "no'), h2s_row("-aa", 1, 0.4, 0.8, "Well, and then?")],
    "dev": [h2s_row("bb", 0, 0.1, 0.5, 'Take 1/2" of "it".')],
    "test": [h2s_row("cc", 0, 0.2, 0.6, "We're done.")],
}


def h2s_line(row: Sequence[str], dialect: str) -> str:
    """Formats a row. `tab`: no quoting; `tab-quoted` and `comma`: with csv quotes if needed."""
    separator = "," if dialect == "comma" else "\t"
    if dialect == "tab":
        return separator.join(row)
    return separator.join(
        '"' + value.replace('"', '""') + '"' if '"' in value or separator in value or "\n" in value else value
        for value in row
    )


def how2sign(root: Path, dialect: str = "tab", end: str = "\n") -> Path:
    root.mkdir(parents=True, exist_ok=True)
    for split, rows in H2S.items():
        lines = [h2s_line(row, dialect) for row in [H2S_COLUMNS, *rows]]
        path = root / f"how2sign_realigned_{H2S_FILES[split]}.csv"
        path.write_bytes((end.join(lines) + end).encode())
    return root


def full_videos(root: Path) -> Path:
    """Writes the full videos, one second each."""
    for split, rows in H2S.items():
        for name in {row[1] for row in rows}:
            video(root / "video_level" / H2S_FILES[split] / "rgb_front" / "raw_videos" / f"{name}.mp4")
    return root


def ready_cut(root: Path) -> Path:
    for split, rows in H2S.items():
        for row in rows:
            video(root / f"{H2S_FILES[split]}_rgb_front_clips" / "raw_videos" / f"{row[3]}.mp4", 10)
    return root


def video(path: Path, count: int = 25, first: int = 0) -> Path:
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        for number in range(count):
            picture = np.full((32, 32, 3), first + number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def append(path: Path, line: str) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(line + "\n")


def texts(clips: list[Clip]) -> dict[str, str]:
    return {clip.id: clip.text for clip in clips}
