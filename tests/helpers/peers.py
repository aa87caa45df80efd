"""Made-up trees of features as other repositories keep them: each writer takes split -> id -> (sentence, [N, C])."""

import gzip
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

Tree = Mapping[str, Mapping[str, tuple[str, np.ndarray]]]

IDS = ("clip ä", "片段", "clip/d", "01April_2010-12", "clip", "clip_2")
"""Ids with a space, in other scripts, with a slash, and of which some begin another."""


def clips(dim: int = 6, dtype: str = "float32", seed: int = 0) -> dict[str, dict[str, tuple[str, np.ndarray]]]:
    """Two splits of the ids, with sentences and features of different N."""
    random = np.random.default_rng(seed)
    return {
        split: {
            f"{clip_id}{split if split == 'dev' else ''}": (
                f"satz größer {number} of {split}",
                random.normal(size=(number % 4 + 1, dim)).astype(dtype),
            )
            for number, clip_id in enumerate(IDS)
        }
        for split in ("train", "dev")
    }


def save_npy(path: Path, features: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, features)


def save_pt(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(value, path)


def labels_table(path: Path, tree: Tree) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [f"{name}\t{split}\t{text}\n" for split, of_split in tree.items() for name, (text, _) in of_split.items()]
    path.write_text("id\tsplit\ttext\n" + "".join(rows), encoding="utf-8")
    return path


def labels_pickle(folder: Path, tree: Tree) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for split, of_split in tree.items():
        items = {
            f"{split}/{name}": {"name": f"{split}/{name}", "text": text, "gloss": "A B", "length": len(steps)}
            for name, (text, steps) in of_split.items()
        }
        (folder / f"labels.{split}").write_bytes(gzip.compress(pickle.dumps(items)))


def info(folder: Path, tree: Tree) -> None:
    """SpaMo's labels."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, of_split in tree.items():
        items: dict[Any, Any] = {
            number: {"fileid": name, "folder": f"{split}/{name}/*.png", "text": text, "gloss": "A", "en_text": "x"}
            for number, (name, (text, _)) in enumerate(of_split.items())
        }
        items["prefix"] = "somewhere"
        np.save(folder / f"{split}_info_ml.npy", items, allow_pickle=True)  # type: ignore[arg-type]


def spamo(folder: Path, tree: Tree) -> None:
    info(folder / "preprocess", tree)
    for split, of_split in tree.items():
        for name, (_, steps) in of_split.items():
            save_npy(folder / "clip-vit-large-patch14_feat" / split / f"{name}_s2wrapping.npy", steps)
            save_npy(folder / "mae_feat" / split / f"{name}_overlap-8.npy", np.ones((len(steps) // 2 + 1, 3), "f4"))


def ssvp_slt(folder: Path, tree: Tree) -> None:
    (folder / "manifests").mkdir(parents=True)
    for split, of_split in tree.items():
        lines = []
        for name, (text, steps) in of_split.items():
            for epoch in (0, 1):
                save_pt(folder / "features" / str(epoch) / name[:5] / f"{name}.pt", torch.from_numpy(steps + epoch))
            lines.append(f"{name}.mp4\t{len(steps)}\t{text}\n")
        manifest = folder / "manifests" / f"{'val' if split == 'dev' else split}_features.tsv"
        manifest.write_text("".join(lines), encoding="utf-8")


def signthought(folder: Path, tree: Tree) -> None:
    for split, of_split in tree.items():
        for number, (name, (text, steps)) in enumerate(of_split.items()):
            item = {"name": name, "signer": "S1", "text": text, "sign": torch.from_numpy(steps)}
            save_pt(folder / "PHOENIX2014T" / split / f"{number:05d}.pt", item)


def neccam(folder: Path, tree: Tree, protocol: int = 4) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for split, of_split in tree.items():
        items = [
            {"name": f"{split}/{name}", "signer": "S1", "gloss": "A", "text": text, "sign": torch.from_numpy(steps)}
            for name, (text, steps) in of_split.items()
        ]
        with gzip.open(folder / f"phoenix14t.pami0.{split}", "wb") as file:
            pickle.dump(items, file, protocol=protocol)


def uni_sign(folder: Path, tree: Tree, protocol: int = 4) -> None:
    labels_pickle(folder, tree)
    for split, of_split in tree.items():
        for name, (_, steps) in of_split.items():
            points = steps.reshape(len(steps), 1, steps.shape[1] // 3, 3)
            pose = {"keypoints": list(points[..., :2].copy()), "scores": list(points[..., 2].copy()), "w_h": (256, 256)}
            path = folder / "pose_format" / split / f"{name}.pkl"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(pickle.dumps(pose, protocol=protocol))


def h5_per_clip(folder: Path, tree: Tree, suffix: str = "_wilor") -> None:
    labels_table(folder / "labels.tsv", tree)
    for split, of_split in tree.items():
        for name, (_, steps) in of_split.items():
            path = folder / split / f"{name}{suffix}.h5"
            path.parent.mkdir(parents=True, exist_ok=True)
            with h5py.File(path, "w") as file:
                file["joints"] = steps.reshape(len(steps), steps.shape[1] // 3, 3)
                file.attrs["fps"] = 25


def h5_of_many(folder: Path, tree: Tree) -> None:
    """How2Sign-style: VIDEO/CLIP in several files per split, as two streams."""
    labels_table(folder / "labels.tsv", tree)
    for split, of_split in tree.items():
        for number, (name, (_, steps)) in enumerate(of_split.items()):
            with h5py.File(folder / f"How2Sign.{split}.{number % 3}.h5", "a") as file:
                file[f"video{number % 2}/{name}/mae"] = steps
                file[f"video{number % 2}/{name}/dino"] = np.zeros((1, 2), "f4")


def h5_per_video(folder: Path, tree: Tree) -> None:
    """How2Sign-style: a file per video, with its clips."""
    labels_table(folder / "labels.tsv", tree)
    for split, of_split in tree.items():
        (folder / split).mkdir()
        for number, (name, (_, steps)) in enumerate(of_split.items()):
            with h5py.File(folder / split / f"-video{number % 3}-8-rgb_front.h5", "a") as file:
                file[name] = steps


def npy(folder: Path, tree: Tree) -> None:
    labels_table(folder / "features.tsv", tree)
    for split, of_split in tree.items():
        for name, (_, steps) in of_split.items():
            save_npy(folder / split / f"{name}.npy", steps)
