"""Files of a finished run that are cut off, flipped, renamed or of other types: each is named in one line, wherever it
is loaded; nothing is used damaged, and nothing is a traceback."""

import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from slt_cache.cache_tools.verify_run import verify_run
from slt_cache.errors import InputError
from slt_cache.features.cache import FeatureCache
from slt_cache.hashes import RECORD_FILE, _known, file_sha256, read_signed, write_signed
from tests.helpers.commands import slt_cache
from tests.helpers.stages import IdleStage, idle_stage
from tests.helpers.tiny_run import train_tiny

WEIGHTS = "llm/best/model.safetensors"
FEW, MANY = 40, 1000
"""Flips and cuts in the fast and in the slow tier."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = train_tiny(tmp_path_factory.mktemp("runs") / "tiny", "visual_training.epochs=1")
    assert slt_cache("eval", "--run", run).code == 0
    return run


@pytest.fixture
def damage(trained: Path) -> Iterator[Callable[[str, Callable[[bytes], bytes]], Path]]:
    """(file, change) -> path; every file that was changed comes back after the test."""
    kept: dict[Path, bytes] = {}

    def change(name: str, how: Callable[[bytes], bytes]) -> Path:
        path = trained / name
        kept.setdefault(path, path.read_bytes())
        path.write_bytes(how(kept[path]))
        return path

    yield change
    for path, data in kept.items():
        path.write_bytes(data)


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def nothing(data: bytes) -> bytes:
    return b""


def flipped(data: bytes) -> bytes:
    return data[:-9] + bytes([data[-9] ^ 4]) + data[-8:]


def refused_in_one_line(path: Path, *arguments: Any) -> str:
    ran = slt_cache(*arguments)
    assert ran.code in (1, 2), (ran.out, ran.err)
    [line] = [line for line in ran.err.splitlines() if line.startswith("error:")]
    assert str(path) in line, line
    assert "Traceback" not in ran.err
    return line


def files_of(run: Path) -> list[Path]:
    """Every file of the run that is no video."""
    return sorted(path for path in run.rglob("*") if path.is_file() and "corpus" not in path.relative_to(run).parts)


def test_the_record_lists_the_hash_of_every_other_file(trained: Path) -> None:
    for stage in ("visual/best", "llm/best", "llm/pretrained/best", "tokenizer"):
        folder = trained / stage
        there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
        files = json.loads((folder / RECORD_FILE).read_text())["files"]
        assert set(files) == there - {RECORD_FILE}
        assert all(files[name] == file_sha256(folder / name) for name in files)


def test_a_whole_run_is_verified(trained: Path) -> None:
    ran = slt_cache("verify", trained, "--json")
    assert json.loads(ran.out) == {"ok": True, "problems": [], "notes": []}
    assert ran.code == 0


def test_verify_of_what_is_no_run_is_bad_input(tmp_path: Path) -> None:
    ran = slt_cache("verify", tmp_path)
    assert ran.code == 2 and str(tmp_path) in ran.err


CHANGES = {"cut": cut, "emptied": nothing, "flipped": flipped}


@pytest.mark.parametrize("how", CHANGES)
@pytest.mark.parametrize("records", [False, True])
def test_verify_names_every_damaged_file(trained: Path, damage: Any, how: str, records: bool) -> None:
    hashing = [path for path in files_of(trained) if path.name in (RECORD_FILE, "prepare.json", "test.json")]
    named = hashing if records else [path for path in files_of(trained) if path not in hashing]
    for path in named:
        damage(path.relative_to(trained).as_posix(), CHANGES[how])
    ran = slt_cache("verify", trained, "--json")
    said = json.loads(ran.out)
    assert ran.code == 1 and not said["ok"]
    lines = [*said["problems"], *said["notes"]]
    for path in named:
        assert any(str(path) in line for line in lines), path
    assert not any("\n" in line or "Traceback" in line for line in lines)


def test_a_model_card_may_be_edited(trained: Path, damage: Any) -> None:
    path = damage("llm/best/README.md", lambda data: data + b"Licence: none.\n")
    found = verify_run(trained)
    assert found.problems == () and found.notes == (f"{path}: changed since it was written",)
    assert slt_cache("eval", "--run", trained).code == 0


@pytest.mark.parametrize("how", CHANGES)
@pytest.mark.parametrize("name", [WEIGHTS, "llm/best/tokenizer.json", "llm/best/record.json", "llm/best/framing.json"])
def test_eval_refuses_a_damaged_file_by_name(trained: Path, damage: Any, name: str, how: str) -> None:
    path = damage(name, CHANGES[how])
    assert "copy" in refused_in_one_line(path, "eval", "--run", trained)


def test_a_flipped_bit_in_the_name_of_a_tensor_is_damage(trained: Path, damage: Any) -> None:
    path = damage(WEIGHTS, lambda data: data.replace(b"fc1.weight", b"fc0.weight", 1))
    assert "SHA-256" in refused_in_one_line(path, "eval", "--run", trained)


def test_a_damaged_encoder_is_called_damaged_and_nothing_is_to_be_extracted_with_it(trained: Path, damage: Any) -> None:
    path = damage("visual/best/encoder.safetensors", flipped)
    for command in (
        ("extract-features", "--split", "train", "--run", trained),
        ("train-llm", "--features", "feats.h5", "--run", trained, "--restart"),
        ("eval", "--run", trained, "--model", "visual"),
    ):
        line = refused_in_one_line(path, *command)
        assert "damaged" in line
        assert "extract" not in line and "train" not in line.partition("damaged")[2]


def test_damaged_features_are_not_evaluated_or_trained_on(trained: Path, damage: Any) -> None:
    at = FeatureCache(trained / "feats.h5", "test")._places["features"].offset + 9
    path = damage("feats.h5", lambda data: data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    assert "are damaged" in refused_in_one_line(path, "eval", "--run", trained)
    assert slt_cache("eval", "--run", trained, "--set", "compute.verify_features=false").code == 0


def test_a_missing_file_of_a_stage_is_named(trained: Path) -> None:
    path = trained / "llm/best/generation_config.json"
    path.rename(trained / "aside.json")
    try:
        line = refused_in_one_line(path, "eval", "--run", trained)
        assert "missing" in line
        assert any(str(path) in problem for problem in verify_run(trained).problems)
    finally:
        (trained / "aside.json").rename(path)


WRONG: dict[str, Callable[[dict[str, Any]], Any]] = {
    "a renamed key": lambda record: record.update(settingz=record.pop("settings")),
    "a missing key": lambda record: record.pop("stage"),
    "a string for a number": lambda record: record.update(epochs="two"),
    "a list for settings": lambda record: record.update(settings=[]),
    "a number for a dict": lambda record: record.update(files=7),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_record_of_other_keys_or_types_is_refused_in_one_line(trained: Path, damage: Any, name: str) -> None:
    """With a hash that fits, as another program could write it."""
    path = damage("llm/best/record.json", lambda data: data)
    record = read_signed(path)
    WRONG[name](record)
    write_signed(path, record)
    assert "record" in refused_in_one_line(path, "eval", "--run", trained)


def copy_of(model: Path, to: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> Path:
    """A model folder without a record, as a user gives one, with other tensors."""
    shutil.copytree(model, to)
    (to / RECORD_FILE).unlink()
    tensors = load_file(to / "model.safetensors")
    change(tensors)
    save_file(tensors, to / "model.safetensors", metadata={"format": "pt"})
    return to


LAYER = "model.encoder.layers.0.fc1.weight"
TENSORS: dict[str, tuple[Callable[[dict[str, torch.Tensor]], Any], str]] = {
    "lacking": (lambda tensors: tensors.pop(LAYER), f"lacks {LAYER}"),
    "renamed": (lambda tensors: tensors.update(other=tensors.pop(LAYER)), "has the unknown other"),
    "too many": (lambda tensors: tensors.update(head=torch.zeros(2)), "has the unknown head"),
    "short": (lambda tensors: tensors.update({LAYER: tensors[LAYER][:3].clone()}), "has a different shape for"),
}


@pytest.mark.parametrize("name", TENSORS)
def test_an_llm_whose_weights_are_not_all_there_is_refused_by_the_names(
    trained: Path, tmp_path: Path, name: str
) -> None:
    from slt_cache.models.llm.load import load_seq2seq

    change, said = TENSORS[name]
    folder = copy_of(trained / "llm/pretrained/best", tmp_path / "llm", change)
    with pytest.raises(InputError) as refused:
        load_seq2seq(str(folder))
    assert said in str(refused.value) and str(folder) in str(refused.value)
    assert "\n" not in str(refused.value)


def with_json(folder: Path, name: str, **values: Any) -> None:
    path = folder / name
    held = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps({**held, **values}))


def with_own_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    own = {"AutoTokenizer": ["own.Own", None]}
    with_json(folder, "tokenizer_config.json", tokenizer_class="Own", auto_map=own)


FOREIGN: dict[str, Callable[[Path], Any]] = {
    "a model of its own": lambda folder: with_json(
        folder, "config.json", model_type="own", auto_map={"AutoConfig": "own.Config", "AutoModelForSeq2SeqLM": "own.M"}
    ),
    "a tokenizer of its own": with_own_tokenizer,
    "a kernel": lambda folder: with_json(folder, "config.json", attn_implementation="someone/kernel"),
    "quantized": lambda folder: with_json(folder, "config.json", quantization_config={"quant_method": "bitsandbytes"}),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_model_folder_that_wants_to_run_code_is_refused_without_a_question(
    trained: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from slt_cache.models.llm.load import load_seq2seq
    from slt_cache.text.tokenizer import load_tokenizer

    folder = copy_of(trained / "llm/pretrained/best", tmp_path / "llm", lambda tensors: None)
    FOREIGN[name](folder)
    (folder / "framing.json").unlink()
    (folder / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("it asked"))
    with pytest.raises(InputError) as refused:
        load_tokenizer(str(folder), "de_DE")
        load_seq2seq(str(folder))
    assert str(folder) in str(refused.value) and "\n" not in str(refused.value)
    assert "trust_remote_code" not in str(refused.value)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("how", CHANGES)
def test_a_damaged_state_is_refused_by_name_and_restart_goes_without_it(
    tmp_path: Path, how: str, tokenizer: Any
) -> None:
    from slt_cache.training.state import read_state

    path = tmp_path / "state.pt"
    torch.save({"model": {"a": torch.arange(2000.0)}, "progress": {}}, path)
    assert read_state(path)["progress"] == {}
    data = path.read_bytes()
    path.write_bytes(flipped(data[:2000]) + data[2000:] if how == "flipped" else CHANGES[how](data))
    with pytest.raises(InputError) as refused:
        read_state(path)
    assert str(path) in str(refused.value) and "--restart" in str(refused.value)
    assert "\n" not in str(refused.value) and "weights_only" not in str(refused.value)


@pytest.mark.parametrize("damaged", ["best/record.json", "last/record.json", "last/state.pt"])
def test_a_restart_replaces_what_is_damaged(tmp_path: Path, damaged: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from slt_cache.checkpoints.record import Record, read_record, write_record
    from slt_cache.pipeline import run_stage
    from slt_cache.training.state import TrainerState

    asked, folder = idle_stage(tmp_path, {}), tmp_path / "visual"
    write_record(folder / "best", Record("stage 1", {}).finish(1, 1.0))
    write_record(folder / "last", Record("stage 1", {}))
    (folder / "last" / "state.pt").write_bytes(b"whole")
    (folder / damaged).write_bytes(b"{")

    def trained(task: object, options: object) -> TrainerState:
        write_record(asked.unfinished.best, Record("stage 1", {}, best_epoch=2))
        return TrainerState(epoch=2)

    monkeypatch.setattr(IdleStage, "make_task", lambda self, device: SimpleNamespace(name="", model=nn.Linear(1, 1)))
    monkeypatch.setattr(run_stage, "train", trained)
    if damaged.endswith(RECORD_FILE):
        with pytest.raises(InputError, match=damaged):
            run_stage.run_stage(asked, restart=False)
    assert run_stage.run_stage(asked, restart=True).epochs == 2
    made = read_record(folder / "best")
    assert made is not None and made.best_epoch == 2
    assert not (folder / "last").exists()


def flip_or_cut(data: bytes, draw: random.Random) -> bytes:
    if draw.random() < 0.2:
        return data[: draw.randrange(len(data))]
    at = draw.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << draw.randrange(8)]) + data[at + 1 :]


def flips_and_cuts(run: Path, count: int) -> dict[str, int]:
    """How many files each kind of damage was done to, by what became of it. Large files are not drawn more often."""
    files, draw, outcomes = files_of(run), random.Random(0), {"told": 0, "changes nothing": 0}
    for number in range(count):
        path = files[number % len(files)]
        whole = path.read_bytes()
        path.write_bytes(flip_or_cut(whole, draw))
        os.utime(path)
        try:
            found = verify_run(run)
            lines = [*found.problems, *found.notes]
            assert not any("\n" in line for line in lines)
            if any(str(path) in line for line in lines):
                outcomes["told"] += 1
            else:
                assert _means_the_same(path, whole), f"damage {number}, of {path}, is not told: {lines}"
                outcomes["changes nothing"] += 1
        finally:
            path.write_bytes(whole)
            _known.clear()
    return outcomes


def _means_the_same(path: Path, whole: bytes) -> bool:
    """Whether a file that has other bytes says what it said: nothing but blanks."""
    return path.suffix == ".json" and json.loads(path.read_bytes()) == json.loads(whole)


def test_flips_and_cuts_of_any_file_are_told_or_change_nothing(trained: Path) -> None:
    assert sum(flips_and_cuts(trained, FEW).values()) == FEW


@pytest.mark.slow
def test_a_thousand_flips_and_cuts_are_told_or_change_nothing(trained: Path) -> None:
    outcomes = flips_and_cuts(trained, MANY)
    print(outcomes)
    assert sum(outcomes.values()) == MANY
