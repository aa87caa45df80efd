"""Streams whose encoders need files, programs or interpreters of their own: a run and an exported model folder find
each, and say which one is missing."""

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torchvision.models import resnet18

from slt_cache.app.answer import Answerer, LimitedReader
from slt_cache.app.limits import Limits
from slt_cache.config import load_config, save_config
from slt_cache.holistic import child
from slt_cache.pipeline.translate import Translator
from slt_cache.runs.encoders import FOLDER
from slt_cache.runs.run import open_run
from slt_cache.video.chunks import ChunkReader, Event
from tests.helpers.commands import Ran, slt_cache
from tests.helpers.fake_mediapipe import write_fake_mediapipe
from tests.helpers.made_run import make_run
from tests.helpers.own_program import write_program
from tests.helpers.small_vision_models import make_vision_model


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory, make_video: Callable[..., Path]) -> Path:
    return make_video(tmp_path_factory.mktemp("video") / "clip.mp4", 16)


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An interpreter that has a stand-in for MediaPipe, unlike that of the tests."""
    folder = tmp_path_factory.mktemp("interpreter")
    write_fake_mediapipe(folder)
    (program := folder / "python").write_text(f'#!/bin/sh\nPYTHONPATH={folder} exec {sys.executable} "$@"\n')
    program.chmod(0o755)
    yield program
    for one in child._running.values():
        one.end()
    child._running.clear()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, python: Path) -> Path:
    """A run with the encoders of six streams; config.yaml names that of the first alone."""
    folder = tmp_path_factory.mktemp("streams")
    for number in (1, 2):
        torch.manual_seed(number)
        torch.save(resnet18().state_dict(), folder / f"{number}.pth")
    make_vision_model("dinov2", folder / "a b" / "model", image_mean=[0.5] * 3, image_std=[0.5] * 3)
    program = write_program(folder / "a b" / "program")
    shutil.copy(folder / "1.pth", folder / "a b" / "argument")
    streams = {
        "first": ("encoder.name=resnet18", f"encoder.weights={folder / '1.pth'}"),
        "other": ("encoder.name=resnet18", f"encoder.weights={folder / '2.pth'}", "video.mean=[0.4, 0.4, 0.4]"),
        "hf": (f"encoder.name=hf:{folder / 'a b' / 'model'}", "video.keep_rate=0.25"),
        "pose": ("encoder.name=pose:mediapipe", f"encoder.python={python}"),
        "own": (f"encoder.name=command:'{program}' --weights '{folder / 'a b' / 'argument'}'",),
        "sign": (),
    }
    settings = ("encoder.weights=none", "video.keep_rate=0.5")
    made = make_run(folder / "run", "mbart", *settings, streams=streams)
    named = load_config(str(made / "config.yaml"), streams["first"])
    save_config(named, made / "config.yaml")
    return made


@pytest.fixture(scope="module")
def exported(run: Path) -> Path:
    ran = slt_cache("export-model", "--run", run, "--out", run.with_name("out"), "--json")
    assert ran.code == 0, ran.err
    outside = json.loads(ran.out)["encoders_outside"]
    assert {name: one["encoder"] for name, one in outside.items()} == {
        "pose": "pose:mediapipe",
        "own": "command:program --weights argument",
    }
    assert all(len(one["sha256"]) == 64 for one in outside.values())
    return run.with_name("out")


def translate(video: Path, *words: object) -> Ran:
    return slt_cache("translate", video, "--device", "cpu", "--json", *words)


def own(folder: Path) -> tuple[str, str]:
    program, argument = folder / "a b" / "program", folder / "a b" / "argument"
    return "--set", f"encoder.name=command:'{program}' --weights '{argument}'"


def test_a_run_finds_the_encoder_of_each_stream_and_a_model_folder_gives_the_same_sentence(
    run: Path, exported: Path, video: Path, python: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    of_run = translate(video, "--run", run)
    assert of_run.code == 0, of_run.err
    moved = tmp_path / "elsewhere"
    shutil.copytree(run.parent / "a b", moved / "a b")
    of_folder = translate(video, "--model", exported, *own(moved), "--set", f"encoder.python={python}")
    assert of_folder.code == 0, of_folder.err
    first, second = (json.loads(ran.out)["translations"][0]["nbest"] for ran in (of_run, of_folder))
    assert first == second and first[0]["text"]
    settings = (own(moved)[1], f"encoder.python={python}")
    assert Translator.from_pretrained(exported, "cpu", settings=settings)(video).text == first[0]["text"]


def test_what_the_model_folder_lacks_is_named_by_its_stream_with_what_to_do(
    exported: Path, video: Path, tmp_path: Path, run: Path, python: Path
) -> None:
    for words, says in (
        (own(run.parent), "stream pose: its encoder (SHA-256 "),
        (own(run.parent), "set encoder.python=pose/bin/python"),
        (("--set", f"encoder.python={python}"), "stream own: its encoder is the program command:program --weights arg"),
        (("--set", f"encoder.python={python}"), "which has the same name: --set encoder.name=command:PATH"),
    ):
        ran = translate(video, "--model", exported, *words)
        assert ran.code == 2 and says in ran.err and len(ran.err.splitlines()) == 1, ran.err
    card = (exported / "README.md").read_text(encoding="utf-8")
    assert "| pose: visual encoder | Apache-2.0" in card and "| own: visual encoder, SHA-256 |" in card
    for path in exported.rglob("*.*"):
        assert not path.is_file() or str(run.parent).encode() not in path.read_bytes(), path


def test_the_page_limits_what_every_stream_reads(run: Path, video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[ChunkReader] = []

    def nothing(clips: object, reader: ChunkReader, workers: int) -> list[Event]:
        seen.append(reader)
        return []

    monkeypatch.setattr("slt_cache.pipeline.translate.read_ahead", nothing)
    with pytest.raises(ValueError, match="not enough values"):
        Answerer(open_run(run, device="cpu"), Limits()).of_upload(video)
    assert len(seen) == 6 and all(isinstance(one, LimitedReader) for one in seen)


def test_a_file_that_has_moved_is_named_with_where_to_correct_it(run: Path, video: Path, tmp_path: Path) -> None:
    copied = Path(shutil.copytree(run, tmp_path / "run"))
    [place] = [path for path in (copied / FOLDER).iterdir() if "2.pth" in path.read_text()]
    place.write_text(place.read_text().replace("2.pth", "gone.pth"))
    ran = translate(video, "--run", copied)
    assert ran.code == 2 and "stream other: encoder.weights " in ran.err and f"correct {place}" in ran.err, ran.err
    place.write_text(place.read_text().replace("gone.pth", "1.pth"))
    ran = translate(video, "--run", copied)
    assert ran.code == 2 and "stream other: " in ran.err and "encoder_sha256: encoder" in ran.err, ran.err
    place.write_text(place.read_text().replace("1.pth", "2.pth"))
    ran = translate(video, "--run", copied, "--set", f"encoder.weights={run.parent / '2.pth'}")
    assert ran.code == 2 and "stream first: " in ran.err and "encoder_sha256: encoder" in ran.err, ran.err
    place.write_text("encoder: [")
    ran = translate(video, "--run", copied)
    assert ran.code == 2 and f"{place}: not valid YAML" in ran.err and len(ran.err.splitlines()) == 1, ran.err
