"""`cache import --layout` and `cache export --layout`: trees as other repositories keep them, into a cache and out."""

import gzip
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from slt_cache.cache_tools.layouts.registry import LAYOUTS, NAMES
from slt_cache.features.cache import FeatureCache, open_splits
from slt_cache.features.verify import cache_problems
from tests.helpers import peers
from tests.helpers.commands import Ran, slt_cache
from tests.helpers.traps import Trap

WRITERS: dict[str, tuple[Callable[[Path, peers.Tree], None], tuple[str, ...]]] = {
    "spamo": (peers.spamo, ("--suffix", "_s2wrapping")),
    "ssvp-slt": (peers.ssvp_slt, ()),
    "signthought": (peers.signthought, ()),
    "neccam": (peers.neccam, ()),
    "uni-sign": (peers.uni_sign, ()),
    "h5": (peers.h5_per_clip, ()),
    "table": (peers.npy, ()),
}
"""Layout -> its writer, and the options that its import needs."""


def read(folder: Path, *options: object, code: int = 0) -> Ran:
    ran = slt_cache("cache", "import", folder, "--out", folder.parent / "x.h5", *options)
    assert ran.code == code, ran.err
    assert "Traceback" not in ran.err
    return ran


def refused(folder: Path, *options: object) -> str:
    """The one or two lines of the error; nothing is written."""
    err = read(folder, *options, code=2).err
    assert err.count("error: ") == 1
    assert len(err.partition("error: ")[2].strip().splitlines()) <= 2
    assert not list(folder.parent.glob("x.h5*"))
    return err


def require_equal(path: Path, tree: peers.Tree) -> None:
    assert not cache_problems(path)
    assert list(open_splits(path)) == list(tree)
    for split, clips in tree.items():
        held = FeatureCache(path, split)
        assert dict(zip(held.ids, held.texts, strict=True)) == {name: text for name, (text, _) in clips.items()}
        for name, (_, steps) in clips.items():
            assert held[name].dtype == steps.dtype
            assert np.array_equal(held[name], steps), name


@pytest.mark.parametrize("layout", WRITERS)
def test_a_layout_is_recognized_and_imported_and_exported_to_equal_arrays(layout: str, tmp_path: Path) -> None:
    write, options = WRITERS[layout]
    tree = peers.clips()
    write(tmp_path / "in", tree)
    ran = read(tmp_path / "in", *options)
    assert layout == "table" or f"layout {layout}" in ran.err
    require_equal(tmp_path / "x.h5", tree)
    if layout == "table":
        return
    out = tmp_path / "again" / "in"
    assert slt_cache("cache", "export", tmp_path / "x.h5", out, "--layout", layout).code == 0
    read(out, "--layout", layout)
    require_equal(out.parent / "x.h5", tree)
    assert (out.parent / "x.h5").stat().st_size == (tmp_path / "x.h5").stat().st_size


def test_every_layout_but_the_own_one_is_tested() -> None:
    assert {*WRITERS, "npy"} == set(LAYOUTS)


@pytest.mark.parametrize("layout", ["spamo", "ssvp-slt", "signthought", "neccam", "h5", "npy"])
def test_float16_stays_float16(layout: str, tmp_path: Path) -> None:
    tree = peers.clips(dtype="float16")
    peers.npy(tmp_path / "in", tree)
    read(tmp_path / "in")
    assert slt_cache("cache", "export", tmp_path / "x.h5", tmp_path / "b" / "in", "--layout", layout).code == 0
    read(tmp_path / "b" / "in", "--layout", layout)
    require_equal(tmp_path / "b" / "x.h5", tree)


def test_plain_arrays_take_their_sentences_from_a_manifest(tmp_path: Path) -> None:
    tree = peers.clips()
    for split, clips in tree.items():
        for name, (_, steps) in clips.items():
            peers.save_npy(tmp_path / "in" / split / f"{name}.npy", steps)
    assert "--labels" in refused(tmp_path / "in")
    table = tmp_path / "manifest.tsv"
    rows = [f"{name}\t{split}\t{name}.mp4\t\t\t{text}\n" for split in tree for name, (text, _) in tree[split].items()]
    table.write_text("id\tsplit\tvideo\tstart\tend\ttext\n" + "".join(rows), encoding="utf-8")
    assert "layout npy" in read(tmp_path / "in", "--labels", table).err
    require_equal(tmp_path / "x.h5", tree)


def test_labels_of_other_repositories_fit_any_files(tmp_path: Path) -> None:
    tree = peers.clips()
    for clips in tree.values():
        for name, (_, steps) in clips.items():
            peers.save_npy(tmp_path / "in" / f"{name}.npy", steps)
    peers.labels_pickle(tmp_path / "a", tree)
    peers.info(tmp_path / "b", tree)
    for labels in ("a", "b"):
        read(tmp_path / "in", "--layout", "npy", "--labels", tmp_path / labels)
        require_equal(tmp_path / "x.h5", tree)
        (tmp_path / "x.h5").unlink()
    csv = tmp_path / "how2sign_realigned_val.csv"
    head = "VIDEO_ID\tVIDEO_NAME\tSENTENCE_ID\tSENTENCE_NAME\tSTART_REALIGNED\tEND_REALIGNED\tSENTENCE\n"
    lines = [f"v\tv\ts\t{name}\t0\t1\t{text}\n" for name, (text, _) in tree["dev"].items()]
    csv.write_text(head + "".join(lines), encoding="utf-8")
    read(tmp_path / "in", "--labels", csv)
    require_equal(tmp_path / "x.h5", {"dev": tree["dev"]})


def motion_of(tree: peers.Tree) -> peers.Tree:
    """The second stream of peers.spamo."""
    return {
        split: {name: (text, np.ones((len(steps) // 2 + 1, 3), "f4")) for name, (text, steps) in clips.items()}
        for split, clips in tree.items()
    }


def test_each_of_two_streams_is_imported_into_its_own_cache_and_exported_to_equal_arrays(tmp_path: Path) -> None:
    tree = peers.clips()
    streams = {"s2wrapping": tree, "overlap-8": motion_of(tree)}
    peers.spamo(tmp_path / "in", tree)
    ran = read(tmp_path / "in")
    assert f"2 streams: _overlap-8 -> {tmp_path / 'x_overlap-8.h5'}" in ran.err
    paths = [tmp_path / f"x_{name}.h5" for name in ("overlap-8", "s2wrapping")]
    assert f"--features {paths[0]} --features {paths[1]} --run runs/x " in ran.out
    assert not list(tmp_path.glob("x*.parts"))
    for name, held in streams.items():
        require_equal(tmp_path / f"x_{name}.h5", held)
        out = tmp_path / "again" / "in" / name
        out.parent.mkdir(parents=True, exist_ok=True)
        assert slt_cache("cache", "export", tmp_path / f"x_{name}.h5", out, "--layout", "spamo").code == 0
        assert {path.stem.rpartition("_")[2] for path in out.glob("features/*/*.npy")} == {name}
    read(tmp_path / "again" / "in")
    for name, held in streams.items():
        require_equal(tmp_path / "again" / f"x_{name}.h5", held)
        specs = [FeatureCache(folder / f"x_{name}.h5", "dev").spec for folder in (tmp_path, tmp_path / "again")]
        assert specs[0] == specs[1]
        assert specs[0].stream == f"_{name}"


def test_one_of_two_streams_is_chosen_by_its_suffix(tmp_path: Path) -> None:
    tree = peers.clips()
    peers.spamo(tmp_path / "in", tree)
    err = refused(tmp_path / "in", "--suffix", "_x")
    assert "no stream '_x'; there are _overlap-8 (12 clips), _s2wrapping (12 clips)" in err
    read(tmp_path / "in", "--stream", "overlap-8")
    require_equal(tmp_path / "x.h5", motion_of(tree))
    assert not list(tmp_path.glob("x_*"))


def test_no_stream_is_written_if_one_of_them_does_not_fit(tmp_path: Path) -> None:
    tree = peers.clips()
    peers.spamo(tmp_path / "in", tree)
    peers.npy(tmp_path / "other", tree)
    assert slt_cache("cache", "import", tmp_path / "other", "--out", tmp_path / "x_s2wrapping.h5").code == 0
    before = (tmp_path / "x_s2wrapping.h5").read_bytes()
    assert "x_s2wrapping.h5 (train) holds other features" in read(tmp_path / "in", code=2).err
    assert [path.name for path in tmp_path.glob("x*")] == ["x_s2wrapping.h5"]
    assert (tmp_path / "x_s2wrapping.h5").read_bytes() == before


@pytest.mark.parametrize("out", [".", "/", "..", "in"])
def test_a_folder_cannot_be_the_cache_of_streams(out: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    peers.spamo(tmp_path / "in", peers.clips())
    monkeypatch.chdir(tmp_path)
    ran = slt_cache("cache", "import", "in", "--out", out)
    assert ran.code == 2
    assert f"error: {out}: a folder, not a file" in ran.err
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_a_clip_that_one_stream_lacks_leaves_the_other_complete(tmp_path: Path) -> None:
    tree = peers.clips()
    peers.spamo(tmp_path / "in", tree)
    lost = tmp_path / "in" / "mae_feat" / "train" / "片段_overlap-8.npy"
    lost.rename(tmp_path / "kept.npy")
    assert "片段_overlap-8.npy: no such file" in read(tmp_path / "in", code=1).err
    assert list(open_splits(tmp_path / "x_overlap-8.h5")) == ["dev"]
    require_equal(tmp_path / "x_s2wrapping.h5", tree)
    (tmp_path / "kept.npy").rename(lost)
    read(tmp_path / "in")
    require_equal(tmp_path / "x_overlap-8.h5", motion_of(tree))


def test_an_interrupted_import_of_streams_leaves_no_cache_and_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from slt_cache.features.parts import Parts

    tree = peers.clips()
    peers.spamo(tmp_path / "in", tree)
    written: list[str] = []
    write = Parts.write

    def stop(parts: Parts, number: int, rows: Any, missing: Any) -> None:
        written.append(f"{parts.metadata.spec.stream} {parts.metadata.split}")
        if len(written) == 4:
            raise KeyboardInterrupt
        write(parts, number, rows, missing)

    monkeypatch.setattr(Parts, "write", stop)
    read(tmp_path / "in", code=130)
    assert not list(tmp_path.glob("x*.h5"))
    read(tmp_path / "in")
    assert written[4:] == ["_s2wrapping dev"]
    require_equal(tmp_path / "x_s2wrapping.h5", tree)
    require_equal(tmp_path / "x_overlap-8.h5", motion_of(tree))


def test_streams_whose_caches_would_have_one_name_are_refused(tmp_path: Path) -> None:
    peers.labels_table(tmp_path / "in" / "labels.tsv", {"train": {"a": ("t", np.ones((1, 1)))}})
    for name in ("a_mae", "a-mae"):
        peers.save_npy(tmp_path / "in" / f"{name}.npy", np.ones((2, 3)))
    assert "Import one by one" in refused(tmp_path / "in", "--layout", "npy")


@pytest.mark.parametrize("layout", ["spamo", "npy", "uni-sign", "h5", "neccam"])
def test_a_stream_is_exported_under_the_name_that_was_given(layout: str, tmp_path: Path) -> None:
    tree = peers.clips()
    peers.npy(tmp_path / "in", tree)
    read(tmp_path / "in")
    out = tmp_path / "again" / "in"
    export = ("cache", "export", tmp_path / "x.h5")
    assert slt_cache(*export, out, "--layout", layout, "--stream", "mae").code == 0
    read(out, "--layout", layout)
    assert str(FeatureCache(out.parent / "x.h5", "dev").spec.stream).lstrip("_") == "mae"
    require_equal(out.parent / "x.h5", tree)
    for refusing, stream in ((layout, "a/b"), (layout, ""), ("ssvp-slt", "1"), ("signthought", "x"), ("table", "x")):
        ran = slt_cache(*export, tmp_path / "no", "--layout", refusing, "--stream", stream)
        assert ran.code == 2
        assert f"--stream {stream}:" in ran.err
        assert ("does not name files" in ran.err) == (refusing != layout)
    assert not (tmp_path / "no").exists()


def test_the_default_cache_is_a_new_one_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = peers.clips()
    peers.npy(tmp_path / "in", tree)
    monkeypatch.chdir(tmp_path)
    assert slt_cache("cache", "import", "in").code == 0
    require_equal(tmp_path / "feats.h5", tree)
    before = (tmp_path / "feats.h5").read_bytes()
    ran = slt_cache("cache", "import", "in")
    assert ran.code == 2
    assert "feats.h5: already exists" in ran.err
    assert (tmp_path / "feats.h5").read_bytes() == before
    assert slt_cache("cache", "import", "in", "--out", "feats.h5").code == 0


def test_the_default_cache_is_completed_by_the_same_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = peers.clips()
    peers.spamo(tmp_path / "in", tree)
    lost = tmp_path / "in" / "mae_feat" / "train" / "片段_overlap-8.npy"
    lost.rename(tmp_path / "kept.npy")
    monkeypatch.chdir(tmp_path)
    assert slt_cache("cache", "import", "in").code == 1
    (tmp_path / "kept.npy").rename(lost)
    assert slt_cache("cache", "import", "in").code == 0
    require_equal(tmp_path / "feats_overlap-8.h5", motion_of(tree))
    assert "already exists" in slt_cache("cache", "import", "in").err


def test_an_epoch_of_ssvp_slt_is_a_stream(tmp_path: Path) -> None:
    tree = peers.clips()
    peers.ssvp_slt(tmp_path / "in", tree)
    assert "no epoch '7'; there are 0, 1" in refused(tmp_path / "in", "--stream", "7")
    read(tmp_path / "in", "--stream", "1")
    held = FeatureCache(tmp_path / "x.h5", "train")
    assert all(np.array_equal(held[name], steps + 1) for name, (_, steps) in tree["train"].items())


def test_a_bad_manifest_of_ssvp_slt_is_named_with_its_line(tmp_path: Path) -> None:
    peers.ssvp_slt(tmp_path / "in", peers.clips())
    for split in ("train", "val"):
        (tmp_path / "in" / "manifests" / f"{split}_features.tsv").write_text("")
    assert "train_features.tsv: no clips" in refused(tmp_path / "in")
    (tmp_path / "in" / "manifests" / "val_features.tsv").write_text("a.mp4\t3\ttext\nb.mp4\n")
    assert "val_features.tsv: line 2: 1 columns" in refused(tmp_path / "in")


def test_files_of_many_clips_are_read_by_stream(tmp_path: Path) -> None:
    tree = peers.clips()
    (tmp_path / "in").mkdir()
    peers.h5_of_many(tmp_path / "in", tree)
    assert "mae (12 clips)" in refused(tmp_path / "in", "--stream", "x")
    read(tmp_path / "in", "--stream", "mae")
    require_equal(tmp_path / "x.h5", tree)
    read(tmp_path / "in")
    require_equal(tmp_path / "x_mae.h5", tree)
    assert FeatureCache(tmp_path / "x_dino.h5", "dev").spec.dim == 2


@pytest.mark.parametrize("layout", ["auto", "how2sign", "SLTK", "h5"])
def test_files_of_several_videos_are_read_under_every_name_of_the_layout(layout: str, tmp_path: Path) -> None:
    tree = peers.clips()
    (tmp_path / "in").mkdir()
    peers.h5_per_video(tmp_path / "in", tree)
    assert len(list((tmp_path / "in").rglob("*.h5"))) == 6
    read(tmp_path / "in", "--layout", layout)
    require_equal(tmp_path / "x.h5", tree)


def test_the_name_of_a_file_says_which_split_a_clip_of_several_is_of(tmp_path: Path) -> None:
    tree = peers.clips()
    same = {split: dict(zip(tree["train"], clips.values(), strict=True)) for split, clips in tree.items()}
    (tmp_path / "in").mkdir()
    peers.h5_of_many(tmp_path / "in", same)
    read(tmp_path / "in", "--stream", "mae")
    require_equal(tmp_path / "x.h5", same)


@pytest.mark.parametrize(
    ("write", "options"),
    [
        (peers.npy, ("--layout", "npy")),
        (peers.spamo, ("--suffix", "_s2wrapping")),
        (peers.uni_sign, ()),
        (peers.h5_per_clip, ()),
        (peers.h5_per_video, ()),
        (peers.h5_of_many, ("--stream", "mae")),
    ],
)
def test_a_clip_of_several_splits_may_have_the_name_of_one_in_its_id(
    write: Callable[[Path, peers.Tree], None], options: tuple[str, ...], tmp_path: Path
) -> None:
    ids = ("x0_train", "x0", "dev", "dev_train-video", "video/a.train", "How2Sign.train")
    tree = {split: dict(zip(ids, clips.values(), strict=True)) for split, clips in peers.clips().items()}
    (tmp_path / "in").mkdir()
    write(tmp_path / "in", tree)
    read(tmp_path / "in", *options)
    require_equal(tmp_path / "x.h5", tree)


def test_a_clip_with_two_files_in_the_folder_of_its_split_is_refused_and_one_elsewhere_is_named(tmp_path: Path) -> None:
    tree = peers.clips()
    peers.h5_per_clip(tmp_path / "in", tree)
    path = tmp_path / "in" / "train" / "clip_2_wilor.h5"
    shutil.copy(path, tmp_path / "in" / path.name)
    err = read(tmp_path / "in").err
    assert "1 not imported, since another file of the clip has the folder or name of its split: clip_2_wilor.h5" in err
    require_equal(tmp_path / "x.h5", tree)
    (tmp_path / "in" / "train" / "b").mkdir()
    shutil.copy(path, tmp_path / "in" / "train" / "b")
    assert "two files of clip 'clip_2' of train" in read(tmp_path / "in", code=2).err


def test_streams_besides_features_without_a_name_are_named_and_not_imported(tmp_path: Path) -> None:
    tree = {"train": peers.clips()["train"]}
    peers.npy(tmp_path / "in", tree)
    for name in ("片段_motion", "clip ä_motion", "foreign"):
        peers.save_npy(tmp_path / "in" / "train" / f"{name}.npy", np.ones((2, 3), "f4"))
    err = read(tmp_path / "in", "--layout", "npy").err
    assert "only the features without a name are imported; streams not imported: _motion (2 clips); name one" in err
    assert "1 not imported, since features.tsv names no such clip: train/foreign.npy" in err
    require_equal(tmp_path / "x.h5", tree)
    assert "not imported" not in read(tmp_path / "in", "--stream", "motion", "--out", tmp_path / "m.h5", code=1).err


@pytest.mark.parametrize("layout", ["spamo", "ssvp-slt", "uni-sign", "h5"])
def test_a_missing_clip_is_a_failure_and_an_extra_file_is_named(layout: str, tmp_path: Path) -> None:
    write, options = WRITERS[layout]
    tree = peers.clips()
    write(tmp_path / "in", tree)
    [lost] = [
        path
        for path in (tmp_path / "in").rglob("片段*")
        if path.is_file() and "dev" not in path.name and "overlap" not in path.name and "1" not in path.parts
    ]
    lost.rename(lost.with_name(lost.name.replace("片段", "foreign")))
    ran = read(tmp_path / "in", *options, code=1)
    assert "片段" in ran.err
    assert "no such file" in ran.err
    assert "foreign" in ran.err
    assert list(open_splits(tmp_path / "x.h5")) == ["dev"]
    read(tmp_path / "in", *options, "--allow-missing")
    held = FeatureCache(tmp_path / "x.h5", "train")
    assert [failure.clip_id for failure in held.missing] == ["片段"]
    assert len(held) == len(tree["train"]) - 1


@pytest.mark.parametrize("layout", [name for name in WRITERS if name != "table"])
@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda steps: np.full_like(steps, np.nan), "not finite"),
        (lambda steps: steps[:0], "shape"),
        (lambda steps: np.zeros((3, 9), "f4"), "channels, but the others have"),
    ],
    ids=["nan", "empty", "channels"],
)
def test_a_clip_that_does_not_fit_is_named_with_its_file(
    layout: str, damage: Callable[[np.ndarray], np.ndarray], reason: str, tmp_path: Path
) -> None:
    write, options = WRITERS[layout]
    tree: Any = peers.clips()
    text, steps = tree["train"]["片段"]
    tree["train"]["片段"] = (text, damage(steps))
    write(tmp_path / "in", tree)
    ran = read(tmp_path / "in", *options, code=1)
    [line] = (tmp_path / "x.train.failed.tsv").read_text(encoding="utf-8").splitlines()[1:]
    assert line.startswith("片段\t")
    assert reason in line
    assert str(tmp_path / "in") in line
    assert list(open_splits(tmp_path / "x.h5")) == ["dev"]
    assert "片段" in ran.err


def test_arrays_with_channels_first_are_refused_and_transposed_on_request(tmp_path: Path) -> None:
    tree = peers.clips()
    turned = {
        split: {name: (text, np.ascontiguousarray(steps.T)) for name, (text, steps) in clips.items()}
        for split, clips in tree.items()
    }
    peers.npy(tmp_path / "in", turned)
    assert "[C, N] instead of [N, C]" in refused(tmp_path / "in")
    read(tmp_path / "in", "--transpose")
    require_equal(tmp_path / "x.h5", tree)


def test_one_transposed_file_is_named(tmp_path: Path) -> None:
    tree: Any = peers.clips()
    text, steps = tree["train"]["片段"]
    tree["train"]["片段"] = (text, np.ascontiguousarray(np.tile(steps, (2, 1)).T))
    peers.spamo(tmp_path / "in", tree)
    assert "[C, N]? transpose it" in read(tmp_path / "in", "--suffix=_s2wrapping", code=1).err


def test_labels_next_to_arrays_are_no_layout_of_their_own(tmp_path: Path) -> None:
    tree = peers.clips()
    for number, labels in enumerate((peers.labels_pickle, peers.info)):
        folder = tmp_path / str(number) / "in"
        labels(folder, tree)
        for split, clips in tree.items():
            for name, (_, steps) in clips.items():
                peers.save_npy(folder / split / f"{name}.npy", steps)
        read(folder)
        require_equal(folder.parent / "x.h5", tree)


def test_a_manifest_next_to_features_of_another_layout_holds_their_sentences(tmp_path: Path) -> None:
    tree = peers.clips()
    peers.spamo(tmp_path / "spamo" / "in", tree)
    for path in (tmp_path / "spamo" / "in" / "preprocess").iterdir():
        path.unlink()
    peers.ssvp_slt(tmp_path / "ssvp" / "in", tree)
    for path in (tmp_path / "ssvp" / "in" / "manifests").iterdir():
        path.unlink()
    for name, options in (("spamo", ["--suffix", "_s2wrapping"]), ("ssvp", [])):
        peers.labels_table(tmp_path / name / "in" / "manifest.tsv", tree)
        read(tmp_path / name / "in", *options)
        require_equal(tmp_path / name / "x.h5", tree)


def test_lists_of_clips_are_recognized_under_other_names(tmp_path: Path) -> None:
    tree = peers.clips()
    peers.neccam(tmp_path / "in", tree)
    for path in list((tmp_path / "in").iterdir()):
        path.rename(path.with_name(path.suffix[1:] + ".pkl"))
    assert "layout neccam" in read(tmp_path / "in").err
    require_equal(tmp_path / "x.h5", tree)
    peers.neccam(tmp_path / "in", tree)
    (tmp_path / "x.h5").unlink()
    assert "phoenix14t.pami0 (2 splits)" in refused(tmp_path / "in", "--stream", "x")


def test_no_pickle_is_executed(tmp_path: Path) -> None:
    sprung = tmp_path / "sprung"
    for name in ("a", "b", "c", "d"):
        (tmp_path / name / "in").mkdir(parents=True)
    with gzip.open(tmp_path / "a" / "in" / "x.train", "wb") as file:
        pickle.dump([{"name": "a", "text": "t", "sign": Trap(sprung)}], file)
    assert "x.train" in refused(tmp_path / "a" / "in", "--layout", "neccam")
    np.save(tmp_path / "b" / "in" / "train_info_ml.npy", {0: Trap(sprung)}, allow_pickle=True)  # type: ignore[arg-type]
    peers.save_npy(tmp_path / "b" / "in" / "a_s2wrapping.npy", np.ones((2, 3)))
    assert "train_info_ml.npy" in refused(tmp_path / "b" / "in")
    peers.uni_sign(tmp_path / "c" / "in", peers.clips())
    for path in (tmp_path / "c" / "in").rglob("clip ä.pkl"):
        path.write_bytes(pickle.dumps({"keypoints": Trap(sprung), "scores": []}))
    assert "not allowed" in read(tmp_path / "c" / "in", code=1).err
    peers.save_pt(tmp_path / "d" / "in" / "train" / "a.pt", {"name": "a", "text": "t", "sign": Trap(sprung)})
    assert "a.pt" in refused(tmp_path / "d" / "in", "--layout", "signthought")
    assert not sprung.exists()


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("write", [peers.neccam, peers.uni_sign])
def test_every_protocol_of_pickle_is_read(write: Any, protocol: int, tmp_path: Path) -> None:
    tree = peers.clips()
    tree["train"]["big"] = ("text", np.random.default_rng(1).normal(size=(900, 6)).astype("f4"))
    write(tmp_path / "in", tree, protocol)
    read(tmp_path / "in")
    require_equal(tmp_path / "x.h5", tree)


def test_exported_pickles_are_those_of_the_repository(tmp_path: Path) -> None:
    """Python's own unpickler, which their loaders call, reads them."""
    tree = peers.clips()
    peers.neccam(tmp_path / "in", tree)
    read(tmp_path / "in")
    slt_cache("cache", "export", tmp_path / "x.h5", tmp_path / "n", "--layout", "neccam")
    slt_cache("cache", "export", tmp_path / "x.h5", tmp_path / "s", "--layout", "spamo")
    slt_cache("cache", "export", tmp_path / "x.h5", tmp_path / "u", "--layout", "uni-sign")
    with gzip.open(tmp_path / "n" / "features.dev", "rb") as file:
        items = pickle.load(file)
    assert [item["name"] for item in items] == [f"dev/{name}" for name in tree["dev"]]
    assert all(torch.equal(item["sign"], torch.from_numpy(tree["dev"][item["name"][4:]][1])) for item in items)
    info = np.load(tmp_path / "s" / "dev_info_ml.npy", allow_pickle=True).item()
    assert [info[number]["fileid"] for number in range(len(info) - 1)] == list(tree["dev"])
    pose = pickle.loads((tmp_path / "u" / "poses" / "dev" / "clip_2dev.pkl").read_bytes())
    assert pose["keypoints"][0].shape == (1, 2, 2)
    with gzip.open(tmp_path / "u" / "labels.dev", "rb") as file:
        assert list(pickle.load(file)) == list(tree["dev"])


def pose(path: Path, keypoints: Any, scores: Any) -> None:
    path.write_bytes(pickle.dumps({"keypoints": keypoints, "scores": scores}))


def test_of_several_persons_the_first_is_imported_and_a_frame_without_any_is_zero(tmp_path: Path) -> None:
    """As Uni-Sign's loader reads them."""
    steps = np.random.default_rng(0).normal(size=(4, 6)).astype("f4")
    rows = dict.fromkeys(("one", "two", "varying", "array", "gone"), ("t", steps))
    peers.uni_sign(tmp_path / "in", {"train": rows})
    points = steps.reshape(4, 1, 2, 3)
    xy, scores = points[..., :2], points[..., 2]
    pair, pair_scores = np.concatenate([xy, xy + 9], axis=1), np.concatenate([scores, scores + 9], axis=1)
    folder = tmp_path / "in" / "pose_format" / "train"
    pose(folder / "two.pkl", list(pair), list(pair_scores))
    pose(folder / "varying.pkl", [xy[0], *pair[1:]], [scores[0], *pair_scores[1:]])
    pose(folder / "array.pkl", pair, pair_scores)
    none, no_scores = np.zeros((0, 2, 2)), np.zeros((0, 2))
    pose(folder / "gone.pkl", [none, xy[1], [], pair[3]], [no_scores, scores[1], None, pair_scores[3]])
    err = read(tmp_path / "in").err
    assert "4 of the 5 clips read now have more than one person in a frame; the first is imported" in err
    assert "2 frames of 1 of the 5 clips read now have no person" in err
    seen = np.array([[0], [1], [0], [1]], "f4")
    require_equal(tmp_path / "x.h5", {"train": {**rows, "gone": ("t", steps * seen)}})


def test_an_import_that_resumes_counts_the_persons_of_the_clips_that_it_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slt_cache.cache_tools.import_features.CLIPS_PER_PART", 1)
    monkeypatch.setattr("slt_cache.cache_tools.import_targets.COMPARED", 1)
    steps = np.ones((2, 6), "f4")
    peers.uni_sign(tmp_path / "in", {"train": dict.fromkeys(("one", "two", "late"), ("t", steps))})
    folder, two = tmp_path / "in" / "pose_format" / "train", ([np.ones((2, 2, 2))] * 2, [np.ones((2, 2))] * 2)
    pose(folder / "two.pkl", *two)
    (folder / "late.pkl").unlink()
    assert "1 of the 2 clips read now have more than one person" in read(tmp_path / "in", code=1).err
    pose(folder / "late.pkl", *two)
    err = read(tmp_path / "in").err
    assert "1 of the 2 clips read now have more than one person" in err and err.rstrip().endswith("late.pkl")
    require_equal(tmp_path / "x.h5", {"train": dict.fromkeys(("one", "two", "late"), ("t", steps))})


def test_one_person_in_every_frame_is_not_remarked_on(tmp_path: Path) -> None:
    peers.uni_sign(tmp_path / "in", peers.clips())
    assert "person" not in read(tmp_path / "in").err.replace(tmp_path.name, "")


def test_poses_that_do_not_fit_together_are_named(tmp_path: Path) -> None:
    steps = np.ones((2, 6), "f4")
    names = ("good", "persons", "frames", "nobody", "points", "text")
    peers.uni_sign(tmp_path / "in", {"train": dict.fromkeys(names, ("t", steps))})
    xy, scores = np.ones((2, 1, 2, 2), "f4"), np.ones((2, 1, 2), "f4")
    folder = tmp_path / "in" / "pose_format" / "train"
    pose(folder / "persons.pkl", [xy[0], np.ones((2, 2, 2))], list(scores))
    pose(folder / "frames.pkl", list(xy), list(scores[:1]))
    pose(folder / "nobody.pkl", [np.zeros((0, 2, 2))] * 2, [np.zeros((0, 2))] * 2)
    pose(folder / "points.pkl", [xy[0], np.ones((1, 3, 2))], [scores[0], np.ones((1, 3))])
    pose(folder / "text.pkl", ["a", "b"], list(scores))
    read(tmp_path / "in", "--allow-missing")
    held = FeatureCache(tmp_path / "x.h5", "train")
    reasons = {failure.clip_id: failure.reason for failure in held.missing}
    assert list(held.ids) == ["good"]
    assert "scores of shape [1, 2] for keypoints of shape [2, 2, 2]" in reasons["persons"]
    assert "scores of 1 frames for keypoints of 2" in reasons["frames"]
    assert "no person in any frame" in reasons["nobody"]
    assert "differs from frame to frame" in reasons["points"]
    assert "no list of arrays" in reasons["text"]


@pytest.mark.parametrize("layout", ["neccam", "signthought", "uni-sign"])
def test_a_truncated_file_is_named(layout: str, tmp_path: Path) -> None:
    WRITERS[layout][0](tmp_path / "in", peers.clips())
    patterns = {"neccam": "*.train", "signthought": "*/train/00002.pt", "uni-sign": "labels.train"}
    [path] = (tmp_path / "in").glob(patterns[layout])
    path.write_bytes(path.read_bytes()[:-20])
    assert path.name in refused(tmp_path / "in", "--layout", layout)


def test_a_truncated_h5_is_a_failure_of_its_clip(tmp_path: Path) -> None:
    peers.h5_per_clip(tmp_path / "in", peers.clips())
    path = tmp_path / "in" / "train" / "片段_wilor.h5"
    path.write_bytes(path.read_bytes()[:100])
    assert "片段_wilor.h5" in read(tmp_path / "in", code=1).err


def test_a_clip_without_sentence_or_name_and_a_clip_twice_are_refused(tmp_path: Path) -> None:
    tree: Any = peers.clips()
    tree["train"]["片段"] = (" ", tree["train"]["片段"][1])
    for layout in ("signthought", "neccam", "uni-sign", "spamo"):
        WRITERS[layout][0](tmp_path / layout / "in", tree)
        assert "no sentence" in refused(tmp_path / layout / "in", "--layout", layout)
    peers.signthought(tmp_path / "twice" / "in", peers.clips())
    item = {"name": "片段", "text": "t", "sign": torch.ones(2, 6)}
    peers.save_pt(tmp_path / "twice" / "in" / "PHOENIX2014T" / "train" / "again.pt", item)
    assert "already in train" in refused(tmp_path / "twice" / "in")
    peers.save_pt(tmp_path / "none" / "in" / "train" / "a.pt", {"text": "t", "sign": torch.ones(2, 6)})
    assert "no name" in refused(tmp_path / "none" / "in", "--layout", "signthought")


def test_a_folder_of_another_layout_or_of_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    assert str(tmp_path / "in") in refused(tmp_path / "in")
    for layout in NAMES:
        assert str(tmp_path / "in") in refused(tmp_path / "in", "--layout", layout)
    assert ", ".join(NAMES) in refused(tmp_path / "in", "--layout", "i3d")
    peers.npy(tmp_path / "in", peers.clips())
    for layout in ("ssvp_slt", "signthought", "neccam", "uni_sign", "h5"):
        assert str(tmp_path / "in") in refused(tmp_path / "in", "--layout", layout)
    other = peers.labels_table(tmp_path / "other.tsv", {"train": {"x": ("t", np.ones((1, 1)))}})
    assert "no file is named by a clip" in refused(tmp_path / "in", "--layout", "npy", "--labels", other)
    assert "nowhere" in refused(tmp_path / "in", "--layout", "npy", "--labels", tmp_path / "nowhere")
    assert "Omit --labels" in refused(tmp_path / "in", "--labels", other, "--layout", "table")


def test_what_a_layout_cannot_hold_is_not_exported(tmp_path: Path) -> None:
    tree = peers.clips(dim=8)
    peers.npy(tmp_path / "in", tree)
    read(tmp_path / "in")
    export = ("cache", "export", tmp_path / "x.h5")
    ran = slt_cache(*export, tmp_path / "out", "--layout", "uni-sign")
    assert ran.code == 2
    assert "8 channels" in ran.err
    assert slt_cache(*export, tmp_path / "in", "--layout", "spamo").code == 2
    assert slt_cache(*export, tmp_path / "out", "--layout", "spamo", "--all-views").code == 2
    assert slt_cache(*export, tmp_path / "out", "--layout", "auto").code == 2
    assert not list(tmp_path.glob("out*"))
    evil = {"train": {"../a": ("t", np.ones((2, 3), "f4"))}}
    peers.neccam(tmp_path / "e" / "in", evil)
    read(tmp_path / "e" / "in")
    for layout in ("spamo", "npy", "h5", "ssvp-slt"):
        ran = slt_cache("cache", "export", tmp_path / "e" / "x.h5", tmp_path / "e" / "out", "--layout", layout)
        assert ran.code == 2
        assert "'../a'" in ran.err
    assert sorted(path.name for path in (tmp_path / "e").iterdir()) == ["in", "x.h5"]


def test_an_interrupted_import_of_pickles_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slt_cache.cache_tools.import_features.CLIPS_PER_PART", 2)
    tree = peers.clips()
    peers.neccam(tmp_path / "in", tree)
    from slt_cache.features.parts import Parts

    written: list[int] = []
    write = Parts.write

    def stop(parts: Parts, number: int, rows: Any, missing: Any) -> None:
        written.append(number)
        if len(written) == 3:
            raise KeyboardInterrupt
        write(parts, number, rows, missing)

    monkeypatch.setattr(Parts, "write", stop)
    read(tmp_path / "in", code=130)
    assert not (tmp_path / "x.h5").exists()
    read(tmp_path / "in")
    assert written == [0, 1, 2, 2, 0, 1, 2]
    require_equal(tmp_path / "x.h5", tree)


def test_h5_with_datasets_that_are_no_features_is_read(tmp_path: Path) -> None:
    tree = peers.clips()
    peers.h5_per_clip(tmp_path / "in", tree, suffix="")
    for path in (tmp_path / "in").rglob("*.h5"):
        with h5py.File(path, "a") as file:
            file["frame_ids"] = np.arange(5)
            file["names"] = ["a", "b"]
            file["fps"] = 25.0
    read(tmp_path / "in")
    require_equal(tmp_path / "x.h5", tree)
