"""The tools around a feature cache: info, show, verify, export, import, merge; and stage 2 from imported features."""

import json
import pickle
import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageColor

from slt_cache.cache_tools.inspect import show_clip
from slt_cache.cache_tools.plots import draw_similarity
from slt_cache.colours import LIGHT
from slt_cache.features.cache import FeatureCache, open_splits
from slt_cache.features.clip_names import stem_of
from slt_cache.features.layout import Failure
from slt_cache.features.parts import ClipFeatures, Parts, content_of, parts_folder
from slt_cache.features.spec import FeatureSpec
from slt_cache.features.verify import cache_problems
from slt_cache.features.writing import write_cache
from tests.helpers.caches import DIM, IDS, LENGTHS, TEXTS, add_split, facts_of, rows_of, spec_of, spec_with_views
from tests.helpers.commands import TINY, Ran, slt_cache
from tests.helpers.traps import Trap


def succeed(*arguments: str | Path) -> Ran:
    ran = slt_cache(*arguments)
    assert ran.code == 0, ran.err
    return ran


def asked(*arguments: str | Path) -> Any:
    """What --json prints."""
    return json.loads(succeed(*arguments, "--json").out)


def refused(*arguments: str | Path) -> str:
    """The one or two lines of an InputError."""
    ran = slt_cache(*arguments)
    assert ran.code == 2, (ran.out, ran.err)
    assert ran.err.startswith("error: ")
    assert len(ran.err.strip().splitlines()) <= 2
    assert "Traceback" not in ran.err
    return ran.err


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Two splits of three views."""
    path = tmp_path / "feats.h5"
    for seed, split in enumerate(("train", "test")):
        add_split(path, rows_of(seed=seed, views=3), facts_of(split, spec_with_views(3)))
    return path


# --- info and show


def test_info_counts_what_the_cache_holds(cache: Path) -> None:
    told = asked("cache", "info", cache)
    assert told["bytes"] == cache.stat().st_size
    metadata, held = told["splits"]["train"], FeatureCache(cache, "train")
    steps = np.diff(held.offsets)
    assert (metadata["clips"], metadata["views"]) == (len(IDS), 3)
    assert metadata["rows"] == steps.sum() == len(held.features)
    assert metadata["bytes"] == held.features.nbytes
    assert metadata["lengths"] == {"min": steps.min(), "median": np.median(steps), "max": steps.max()}
    assert metadata["hours"] == pytest.approx(sum(4 * length - 1 for length in LENGTHS) / 25 / 3600)
    assert metadata["complete"] is True
    assert FeatureSpec.from_json(json.dumps(metadata["spec"])) == held.spec
    printed = succeed("cache", "info", cache).out
    assert "train: 4 clips in 3 views" in printed
    assert "complete" in printed
    assert printed.count("encoder_sha256") == 1


def test_info_says_what_is_missing_and_which_clips_have_no_frame_rate(tmp_path: Path) -> None:
    some = [replace(row, fps=0.0) if row.clip_id == IDS[0] else row for row in rows_of()]
    add_split(tmp_path / "a.h5", some[:3], missing=(Failure(IDS[3], "no such file"),))
    add_split(tmp_path / "a.h5", [replace(row, fps=0.0) for row in rows_of()], facts_of("dev"))
    printed = succeed("cache", "info", tmp_path / "a.h5").out
    assert "INCOMPLETE: 1 clips are missing" in printed
    assert "without 1 clips that have no frame rate" in printed
    assert "hours unknown" in printed
    metadata = asked("cache", "info", tmp_path / "a.h5")["splits"]
    assert metadata["train"]["missing"] == [{"clip_id": IDS[3], "reason": "no such file"}]
    assert metadata["dev"]["hours"] is None


def test_show_gives_the_figures_of_numpy(cache: Path) -> None:
    told = asked("cache", "show", "片段", "--features", cache, "--split", "test")
    steps = FeatureCache(cache, "test").view("片段", 1).astype(np.float64)
    view = told["views"][1]
    assert (told["id"], told["split"], told["text"], told["dim"]) == ("片段", "test", TEXTS[2], DIM)
    assert view["steps"] == len(steps) == LENGTHS[2] + 1
    assert view["mean"] == pytest.approx(steps.mean(), abs=1e-6)
    assert view["std"] == pytest.approx(steps.std(), abs=1e-6)
    assert (view["min"], view["max"]) == (steps.min(), steps.max())
    assert view["norm"] == pytest.approx(np.linalg.norm(steps, axis=1).mean())
    cosines = [np.dot(a, b) / np.linalg.norm(a) / np.linalg.norm(b) for a, b in pairwise(steps)]
    assert view["neighbours"] == pytest.approx(np.mean(cosines))
    shown = show_clip(cache, "片段", "test")
    assert shown.similarity.shape == (LENGTHS[2], LENGTHS[2])
    assert np.diag(shown.similarity) == pytest.approx(1)


def test_show_takes_ids_that_begin_with_a_hyphen(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    ids = ("-fvhZ0_1", "--x", "-clip 'b'", "d")
    add_split(path, [replace(row, clip_id=name) for row, name in zip(rows_of(), ids, strict=True)])
    for arguments in ((ids[0], "--features", path), ("--features", path, ids[2]), ("--features", path, "--", ids[1])):
        printed = succeed("cache", "show", *arguments).out
        assert any(printed.startswith(f"{clip_id} (train)") for clip_id in arguments if clip_id in ids)


def test_an_unknown_clip_is_refused_naming_ids_like_it(cache: Path) -> None:
    error = refused("cache", "show", "clip_d", "--features", cache, "--split", "train")
    assert "'clip/d'" in error
    assert "is in train and test" in refused("cache", "show", "clip/d", "--features", cache)


def test_plots_are_pictures_and_other_names_are_refused(cache: Path, tmp_path: Path) -> None:
    succeed("cache", "info", cache, "--plot", tmp_path / "lengths.png")
    succeed("cache", "show", IDS[0], "--features", cache, "--split", "test", "--plot", tmp_path / "clip.png")
    for name in ("lengths.png", "clip.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    clip = replace(show_clip(cache, IDS[0], "test"), text="$x_1$ größer süden")
    draw_similarity(clip, tmp_path / "clip.svg")
    assert "$x_1$ größer süden" in (tmp_path / "clip.svg").read_text(encoding="utf-8")  # no formula, no empty boxes
    assert ".png" in refused("cache", "info", cache, "--plot", tmp_path / "lengths.txt")


def test_plots_have_a_ground_of_their_own_and_the_colours_of_the_report(cache: Path, tmp_path: Path) -> None:
    """So that they are read on a dark page too."""
    for arguments in (("info", cache), ("show", IDS[0], "--features", cache, "--split", "test")):
        succeed("cache", *arguments, "--plot", tmp_path / "plot.png")
        with Image.open(tmp_path / "plot.png") as picture:
            shown = picture.convert("RGBA")
        colours = {colour for _, colour in shown.getcolors(shown.width * shown.height) or []}
        assert shown.getchannel("A").getextrema() == (255, 255)
        assert shown.getpixel((1, 1)) == (*ImageColor.getrgb(LIGHT["card"]), 255)
        if arguments[0] == "info":
            assert (*ImageColor.getrgb(LIGHT["series-1"]), 255) in colours


def test_a_cache_of_the_run_is_found_by_its_bare_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    add_split(tmp_path / "run" / "feats.h5", rows_of())
    for arguments in ((), ("feats.h5",)):
        assert asked("cache", "info", *arguments, "--run", "run")["path"] == "run/feats.h5"


# --- export and import


def columns(path: Path, split: str) -> list[Any]:
    held = FeatureCache(path, split)
    numbers = [held.column(name).tolist() for name in ("view", "num_frames", "fps", "checksum")]
    return [
        held.metadata,
        held.row_ids,
        held.row_texts,
        np.asarray(held.features).tobytes(),
        held.offsets.tolist(),
        *numbers,
    ]


@pytest.mark.parametrize("file_format", ["npy", "pt"])
def test_export_and_import_give_the_same_bytes_again(cache: Path, tmp_path: Path, file_format: str) -> None:
    out, back = tmp_path / "out", tmp_path / "back.h5"
    succeed("cache", "export", cache, out, "--format", file_format, "--all-views")
    succeed("cache", "import", out, "--out", back)
    assert back.read_bytes() == cache.read_bytes()
    assert not parts_folder(back).exists()


def test_an_export_without_views_is_that_of_plain_features(cache: Path, tmp_path: Path) -> None:
    succeed("cache", "export", cache, tmp_path / "out", "--split", "test")
    succeed("cache", "import", tmp_path / "out", "--out", tmp_path / "back.h5")
    assert list(open_splits(tmp_path / "back.h5")) == ["test"]
    held, back = FeatureCache(cache, "test"), FeatureCache(tmp_path / "back.h5", "test")
    assert back.spec == replace(held.spec, views=1, view_seed=None, augmentation=None)
    assert all((back[clip_id] == held[clip_id]).all() for clip_id in held)


def test_a_missing_clip_is_missing_after_the_way_there_and_back(tmp_path: Path) -> None:
    lost = Failure(IDS[3], "no such file")
    held = add_split(tmp_path / "a.h5", rows_of()[:3], missing=(lost,))
    assert "1 clips of train are missing" in succeed("cache", "export", held.path, tmp_path / "out").err
    succeed("cache", "import", tmp_path / "out", "--out", tmp_path / "b.h5")
    assert FeatureCache(tmp_path / "b.h5", "train").missing == (lost,)


def test_an_edited_table_makes_another_cache_with_the_features_of_its_lines(cache: Path, tmp_path: Path) -> None:
    succeed("cache", "export", cache, tmp_path / "out")
    table = tmp_path / "out" / "features.tsv"
    lines = table.read_text(encoding="utf-8").splitlines()
    table.write_text("\n".join(line for line in lines if "片段" not in line) + "\n", encoding="utf-8")
    succeed("cache", "import", tmp_path / "out", "--out", tmp_path / "b.h5")
    held, back = FeatureCache(cache, "train"), FeatureCache(tmp_path / "b.h5", "train")
    assert back.ids == [clip_id for clip_id in held.ids if clip_id != "片段"]
    assert back.attributes["manifest_sha256"] != held.attributes["manifest_sha256"]
    assert (back[IDS[3]] == held[IDS[3]]).all()


def test_no_two_clips_or_views_share_a_file_name() -> None:
    ids = ("a", "a.view1", "a%2Eview1", "a/b", "a%2Fb", ".a", "-a", "天" * 200)
    names = [stem_of(clip_id, view) for clip_id in ids for view in (0, 1)]
    assert len(set(names)) == len(names)
    assert all("/" not in name and len(name) < 240 for name in names)


def test_export_replaces_its_own_folder_and_no_other(cache: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    succeed("cache", "export", cache, out)
    succeed("cache", "export", cache, out, "--format", "pt")
    assert not list(out.rglob("*.npy"))
    shutil.copy(cache, out / "mine.h5")
    assert "other files" in refused("cache", "export", cache, out)
    assert (out / "mine.h5").is_file()
    assert "other files" in refused("cache", "export", cache, tmp_path)
    assert "a file" in refused("cache", "export", cache, cache)


def test_the_working_directory_is_not_replaced(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    assert "working directory" in refused("cache", "export", cache, ".")


def test_a_damaged_clip_is_not_exported(cache: Path, tmp_path: Path) -> None:
    damage(cache, "train")
    ran = slt_cache("cache", "export", cache, tmp_path / "out")
    assert ran.code == 1
    assert repr(IDS[0]) in ran.err
    assert not (tmp_path / "out").exists()


def damage(path: Path, split: str) -> None:
    """Flips a bit in the features of its first clip."""
    offset = FeatureCache(path, split)._places["features"].offset
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)


def made_elsewhere(folder: Path, count: int = 5, table: str = "clips.tsv") -> list[np.ndarray]:
    """A folder of .npy with its table; every third clip is of dev."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    lines, features = ["text\tid\tsplit"], []
    for number in range(count):
        features.append(random.normal(size=(number % 7 + 1, 8)).astype(np.float32))
        np.save(folder / f"c{number}.npy", features[-1])
        lines.append(f"satz nummer {number}\tc{number}\t{'dev' if number % 3 == 2 else 'train'}")
    (folder / table).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return features


def test_features_made_elsewhere_become_a_cache(tmp_path: Path) -> None:
    features = made_elsewhere(tmp_path / "i3d")
    ran = succeed("cache", "import", tmp_path / "i3d", "--out", tmp_path / "x.h5", "--language", "de_DE")
    assert "next: slt-cache train-llm --features" in ran.out
    train, dev = (FeatureCache(tmp_path / "x.h5", split) for split in ("train", "dev"))
    assert train.spec == FeatureSpec(None, "imported", 8, "float32", source="i3d")
    assert (train.ids, dev.ids) == (["c0", "c1", "c3", "c4"], ["c2"])
    assert train.texts[1] == "satz nummer 1"
    assert (train["c3"] == features[3]).all()
    assert (train.metadata.corpus, train.metadata.language) == ("imported", "de_DE")
    assert not cache_problems(tmp_path / "x.h5")


def test_every_way_to_name_a_file_and_every_tensor_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    (folder / "train" / "x").mkdir(parents=True)
    array = np.arange(12.0).reshape(2, 6)
    np.save(folder / "train" / "a%2Fb.npy", array)
    torch.save({"features": torch.from_numpy(array)[None], "fps": 25}, folder / "train" / "x" / "y.pt")
    torch.save(torch.from_numpy(array).bfloat16().requires_grad_(), folder / "elsewhere.pt")
    np.save(folder / "天.npy", np.asfortranarray(array.astype(">f2")))
    lines = ["id\tsplit\ttext\tfile\tfps\tnum_frames", "a/b\ttrain\tt\t\t25\t8", "x/y\ttrain\tt\t\t\t"]
    lines += ["c\ttrain\tt\telsewhere.pt\t12.5\t", "天\ttrain\tt\t\t\t"]
    (folder / "features.tsv").write_bytes("\r\n".join(lines).encode())
    (folder / "other.tsv").touch()
    succeed("cache", "import", folder, "--out", tmp_path / "x.h5", "--dtype", "float16")
    held = FeatureCache(tmp_path / "x.h5", "train")
    assert held.ids == ["a/b", "x/y", "c", "天"]
    assert all((held[clip_id] == array).all() for clip_id in held)
    assert held.num_frames.tolist() == [8, 0, 0, 0]
    assert held.column("fps").tolist() == [25, 0, 12.5, 0]


def test_what_would_have_to_be_unpickled_is_refused_and_not_run(tmp_path: Path) -> None:
    made_elsewhere(tmp_path / "in")
    sprung = tmp_path / "sprung"
    with (tmp_path / "in" / "c0.npy").open("wb") as file:
        np.save(file, np.array([[Trap(sprung)]], dtype=object), allow_pickle=True)
    (tmp_path / "in" / "c1.npy").write_bytes(pickle.dumps(Trap(sprung)))
    (tmp_path / "in" / "c3.npy").unlink()
    torch.save(Trap(sprung), tmp_path / "in" / "c3.pt")
    (tmp_path / "in" / "c4.npy").unlink()
    (tmp_path / "in" / "c4.pt").write_bytes(pickle.dumps(Trap(sprung)))
    ran = slt_cache("cache", "import", tmp_path / "in", "--out", tmp_path / "x.h5", "--json")
    assert ran.code == 1
    assert [one["id"] for one in json.loads(ran.out)["splits"]["train"]["failed"]] == ["c0", "c1", "c3", "c4"]
    assert not sprung.exists()


def test_each_bad_file_is_named_with_what_is_wrong_and_nothing_is_written(tmp_path: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "x.h5"
    made_elsewhere(folder, 14)
    good = np.load(folder / "c0.npy")
    np.save(folder / "c1.npy", np.full((2, 8), np.nan, np.float32))
    np.save(folder / "c3.npy", np.zeros((2, 3, 8), np.float32))
    np.save(folder / "c4.npy", np.zeros((2, 9), np.float32))
    np.save(folder / "c6.npy", np.zeros((0, 8), np.float32))
    (folder / "c7.npy").unlink()
    np.save(folder / "c9.npy", np.full((2, 8), 1e6, np.float32))
    (folder / "c10.npy").write_bytes((folder / "c10.npy").read_bytes()[:-1])
    np.save(folder / "c12.npy", np.zeros((2, 8), complex))
    np.save(folder / "c13.npy", np.full((2, 8), 6e-5, np.float32))
    arguments = ("cache", "import", folder, "--out", out, "--dtype", "float16")
    ran = slt_cache(*arguments)
    assert ran.code == 1
    table = tmp_path / "x.train.failed.tsv"
    reasons = dict(line.split("\t") for line in table.read_text(encoding="utf-8").splitlines()[1:])
    expected = {
        "c1": "not finite",
        "c3": "shape [2, 3, 8] instead of [N, C]",
        "c4": "9 channels, but the others have 8",
        "c6": "shape [0, 8]",
        "c7": "no such file",
        "c9": "not finite as float16; use --dtype float32",
        "c10": "cut off",
        "c12": "complex128",
        "c13": "too close to 0 for float16; use --dtype float32",
    }
    assert reasons.keys() == expected.keys()
    for clip_id, reason in expected.items():
        assert reason in reasons[clip_id]
        assert f"{clip_id}." in reasons[clip_id]  # the file
    assert list(open_splits(out)) == ["dev"]
    succeed(*arguments, "--allow-missing")
    held = FeatureCache(out, "train")
    assert held.ids == ["c0"]
    assert {failure.clip_id for failure in held.missing} == expected.keys()
    for clip_id in expected:
        np.save(folder / f"{clip_id}.npy", good)
    succeed(*arguments)
    assert FeatureCache(out, "train").complete
    assert not table.exists()


def test_an_interrupted_import_goes_on_and_reads_only_what_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, out = tmp_path / "in", tmp_path / "x.h5"
    made_elsewhere(folder, 300)
    written: list[int] = []
    write = Parts.write

    def stop(parts: Parts, number: int, rows: Any, missing: Any) -> None:
        written.append(number)
        if len(written) == 3:
            raise KeyboardInterrupt
        write(parts, number, rows, missing)

    monkeypatch.setattr(Parts, "write", stop)
    assert slt_cache("cache", "import", folder, "--out", out).code == 130
    assert not out.exists()
    changed = np.full((2, 8), 7, np.float32)
    np.save(folder / "c0.npy", changed)
    del written[:]

    def count(parts: Parts, number: int, rows: Any, missing: Any) -> None:
        written.append(number)
        write(parts, number, rows, missing)

    monkeypatch.setattr(Parts, "write", count)
    succeed("cache", "import", folder, "--out", out)
    assert written == [0, 2, 3, 0, 1]  # of train all but the second part; both of dev
    assert (FeatureCache(out, "train")["c0"] == changed).all()
    assert len(FeatureCache(out, "train")) + len(FeatureCache(out, "dev")) == 300


@pytest.mark.parametrize(
    ("table", "telling"),
    [
        (b"id\tsplit\nc0\ttrain\n", "the header lacks text"),
        (b"id\tsplit\ttext\nc0\ttrain\n", "line 2: 2 columns"),
        (b"id\tsplit\ttext\nc0\tvalid\tt\n", "'valid' is not one of train, dev, test"),
        (b"id\tsplit\ttext\nc0\ttrain\tt\nc0\ttrain\tt\nc1\ttrain\t \n", "line 3: id 'c0' is already in train (2 bad"),
        (b"id\tsplit\ttext\tfps\nc0\ttrain\tt\tnan\n", "fps 'nan'"),
        (b"id\tsplit\ttext\tnum_frames\nc0\ttrain\tt\t1.5\n", "num_frames '1.5'"),
        (b"id\tsplit\ttext\tview\nc0\ttrain\tt\t0\nc0\ttrain\tt\t1\nc1\ttrain\tt\t0\n", "clip 'c1' of train"),
        (b"id\tsplit\ttext\n", "no clips"),
        (b"id\tsplit\ttext\nc0\ttrain\t\xff\n", "not UTF-8"),
        (b"id\tsplit\ttext\nc99\ttrain\tt\n", "none of its 1 clips can be read"),
    ],
)
def test_a_bad_table_is_refused_with_its_line(tmp_path: Path, table: bytes, telling: str) -> None:
    made_elsewhere(tmp_path / "in")
    (tmp_path / "in" / "clips.tsv").write_bytes(table)
    assert telling in refused("cache", "import", tmp_path / "in", "--out", tmp_path / "x.h5")


def test_other_bad_input_ends_with_2_as_well(cache: Path, tmp_path: Path) -> None:
    made_elsewhere(tmp_path / "in")
    out = ("--out", tmp_path / "x.h5")
    assert "no such folder" in refused("cache", "import", tmp_path / "nowhere", *out)
    assert "float16 or float32" in refused("cache", "import", tmp_path / "in", *out, "--dtype", "int8")
    assert "holds other features" in refused("cache", "import", tmp_path / "in", "--out", cache)
    assert "npy or pt" in refused("cache", "export", cache, tmp_path / "out", "--format", "csv")
    assert "'tset'" in refused("cache", "export", cache, tmp_path / "out", "--split", "tset")
    succeed("cache", "export", cache, tmp_path / "out")
    shutil.copytree(tmp_path / "out", tmp_path / "views")
    assert "--source" in refused("cache", "import", tmp_path / "out", *out, "--dtype", "float32")
    (tmp_path / "out" / "spec.json").write_text('{"format": "slt-cache export"}')
    assert "spec.json" in refused("cache", "import", tmp_path / "out", *out)
    (tmp_path / "in" / "second.tsv").touch()
    assert "one .tsv file" in refused("cache", "import", tmp_path / "in", *out)
    assert "a folder" in refused("cache", "import", tmp_path / "views", "--out", tmp_path / "in")
    text = tmp_path / "text.h5"
    text.write_text("not a cache")
    for command in (("info", text), ("show", "a", "--features", text), ("export", text, tmp_path / "new")):
        assert "no slt-cache feature cache" in refused("cache", *command)
    assert "text.h5" in refused("cache", "merge", text, cache, "--out", tmp_path / "m.h5")


# --- merge


def test_splits_of_several_caches_come_into_one_file(tmp_path: Path) -> None:
    train = add_split(tmp_path / "a.h5", rows_of(seed=1), facts_of("train"))
    test = add_split(tmp_path / "b.h5", rows_of(seed=2), facts_of("test"))
    succeed("cache", "merge", test.path, train.path, "--out", tmp_path / "m.h5")
    assert list(open_splits(tmp_path / "m.h5")) == ["train", "test"]
    for held in (train, test):
        assert columns(tmp_path / "m.h5", held.split) == columns(held.path, held.split)


def test_halves_of_a_split_are_joined_in_the_order_of_the_arguments(tmp_path: Path) -> None:
    rows = rows_of(views=2)
    lost = Failure(IDS[3], "no such file")
    metadata = facts_of(spec=spec_with_views(2))
    first = add_split(tmp_path / "a.h5", rows[:2], metadata, missing=(lost, Failure(IDS[2], "cut off")))
    second = add_split(tmp_path / "b.h5", rows[4:6], replace(metadata, corpus="other", manifest_sha256="n" * 64))
    succeed("cache", "merge", second.path, first.path, "--out", tmp_path / "m.h5")
    merged = FeatureCache(tmp_path / "m.h5", "train")
    assert merged.ids == [IDS[2], IDS[0]]
    assert (merged.view(IDS[2], 1) == second.view(IDS[2], 1)).all()
    assert merged.missing == (lost,)  # the other one is in the second half
    assert merged.metadata.corpus == "other+tsv"
    assert not cache_problems(merged.path)


def test_caches_that_do_not_fit_are_not_merged(tmp_path: Path) -> None:
    a = add_split(tmp_path / "a.h5", rows_of()).path
    b = add_split(tmp_path / "b.h5", rows_of("float32"), facts_of("dev", spec_of("float32"))).path
    c = add_split(tmp_path / "c.h5", rows_of(), replace(facts_of("dev"), language="zh_CN")).path
    out = ("--out", tmp_path / "m.h5")
    error = refused("cache", "merge", a, b, *out)
    assert "a.h5" in error
    assert "b.h5" in error
    assert "dtype: first float16, second float32" in error
    assert "language: first de_DE, second zh_CN" in refused("cache", "merge", a, c, *out)
    shutil.copy(a, tmp_path / "d.h5")
    assert "both hold 'clip ä'" in refused("cache", "merge", a, tmp_path / "d.h5", *out)
    assert "two or more" in refused("cache", "merge", a, *out)
    d = add_split(tmp_path / "e.h5", rows_of(), facts_of("dev")).path
    before = d.read_bytes()
    assert "already exists" in refused("cache", "merge", a, d, "--out", d)
    assert d.read_bytes() == before
    assert not parts_folder(tmp_path / "m.h5").exists()


# --- verify, and stage 2 from imported features


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder after stage 1, and a cache with two views."""
    run = tmp_path_factory.mktemp("tools") / "tiny"
    brief = ("--set", "features.views=2", "--set", "visual_training.epochs=1")
    succeed("train-visual", "--run", run, "--config", TINY, *brief)
    succeed("extract-features", "--run", run)
    return run


def with_changed_clip(cache: Path, out: Path, clip_id: str, factor: float) -> None:
    """A copy with a good checksum header whose features of one clip are others."""
    contents = []
    for split in open_splits(cache):
        held = FeatureCache(cache, split)
        table = held.content().table
        rows = [
            ClipFeatures(name, text, int(frames), float(fps), held.row(row).copy())
            for row, (name, text, frames, fps) in enumerate(
                zip(table.clip_ids, table.texts, table.num_frames, table.fps, strict=True)
            )
        ]
        for row in rows:
            if row.clip_id == clip_id:
                row.features[:] = (row.features * factor).astype(row.features.dtype)
        contents.append(content_of(held.metadata, rows))
    write_cache(out, contents)


def test_the_encoder_makes_the_features_of_a_good_cache_again(trained: Path) -> None:
    told = asked("cache", "verify", "--run", trained, "--encoder", "--clips", "3")
    assert told["ok"] is True
    assert told["compared"] == 3 + 2 + 3
    assert told["largest_error"] <= 0.001
    assert "largest relative error" in succeed("cache", "verify", "--run", trained, "--encoder", "--clips", "1").out


def test_features_that_the_encoder_does_not_make_are_found(trained: Path, tmp_path: Path) -> None:
    changed = tmp_path / "changed.h5"
    clip_id = FeatureCache(trained / "feats.h5", "dev").ids[-1]
    with_changed_clip(trained / "feats.h5", changed, clip_id, 1.1)
    succeed("cache", "verify", changed)  # the checksum header is good
    ran = slt_cache("cache", "verify", changed, "--run", trained, "--encoder", "--json")
    told = json.loads(ran.out)
    assert ran.code == 1
    assert told["ok"] is False
    assert len(told["problems"]) == 1
    assert repr(clip_id) in told["problems"][0]
    assert told["largest_error"] == pytest.approx(0.1 / 1.1, rel=0.05)


def test_verify_compares_with_the_run_that_is_named(trained: Path, tmp_path: Path) -> None:
    add_split(tmp_path / "a.h5", rows_of())
    succeed("cache", "verify", tmp_path / "a.h5")
    ran = slt_cache("cache", "verify", tmp_path / "a.h5", "--run", trained)
    assert ran.code == 1
    assert "holds other features than this run asks for" in ran.out
    assert "asks for" in succeed("cache", "verify", "--run", trained).out
    assert "no such run folder" in refused("cache", "verify", tmp_path / "a.h5", "--run", tmp_path / "nowhere")


def test_damage_of_any_kind_is_a_problem_and_no_traceback(cache: Path, tmp_path: Path) -> None:
    whole = cache.read_bytes()
    broken = tmp_path / "broken.h5"
    kinds = [b"", b"text", whole[:100], whole[:5000], whole[:-3], whole + b"x", whole[:4096]]
    kinds += [whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :] for at in range(0, len(whole), 401)]
    for data in kinds:
        broken.write_bytes(data)
        ran = slt_cache("cache", "verify", broken)
        assert ran.code == 1, (len(data), ran)
        assert "Traceback" not in ran.err
        assert slt_cache("cache", "info", broken).code in (0, 2)  # info reads no features
    assert "a folder" in refused("cache", "verify", tmp_path)


def test_stage_2_and_eval_work_from_imported_features_alone(trained: Path, tmp_path: Path) -> None:
    out, features, run = tmp_path / "out", tmp_path / "x.h5", tmp_path / "run"
    succeed("cache", "export", trained / "feats.h5", out)
    succeed("cache", "import", out, "--out", features, "--source", "I3D, BOBSL weights", "--language", "de_DE")
    named = ("--features", features, "--run", run)
    settings = ("--config", TINY, "--set", "llm.language=de_DE")
    assert "--set features.level=imported" in refused("train-llm", *named, *settings)
    succeed("train-llm", *named, *settings, "--set", "features.level=imported")
    assert not (run / "visual").exists()
    assert asked("eval", "--split", "test", *named)["clips"] == 3
    video = next((trained / "corpus" / "videos").glob("test-*.mp4"))
    assert "imported features (I3D, BOBSL weights); it cannot read videos" in refused("translate", "--run", run, video)
    assert "no encoder makes them" in refused("cache", "verify", features, "--run", run, "--encoder")
    succeed("cache", "verify", features, "--run", run)


def test_a_control_from_imported_features_remembers_its_settings(trained: Path, tmp_path: Path) -> None:
    succeed("cache", "export", trained / "feats.h5", tmp_path / "out")
    succeed("cache", "import", tmp_path / "out", "--out", tmp_path / "x.h5", "--source", "i3d")
    named = ("--features", tmp_path / "x.h5", "--run", tmp_path / "run")
    settings = ("--set", "features.level=imported", "--set", "llm.language=de_DE", "--set", "llm.pretrained=false")
    succeed("train-llm", *named, "--config", TINY, *settings)
    succeed("eval", "--split", "test", "--model", "llm-from-scratch", *named)
