"""TensorBoard, Weights & Biases and MLflow, each read back by its own reader."""

import json
import struct
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from slt_cache.errors import InputError
from slt_cache.training import trackers
from slt_cache.training.logs import read_metrics
from slt_cache.training.loop import train
from slt_cache.training.task import TrainerOptions
from slt_cache.training.trackers import require_tracker
from tests.helpers.toy_training import Killed, ToyTask, options_of

Curves = dict[str, list[tuple[int, float]]]
"""Points of each curve: step and value, in the order in which they are stored."""
BLEU4 = [1.0, 2.0, 3.0, 4.0]
KILLS = ((3, 9), (2, 11))
"""Epoch and batch of two kills, of which the second comes sooner; both lose steps that are logged."""


def test_a_tracker_that_is_not_installed_is_named_with_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trackers, "find_spec", lambda name: None)
    require_tracker("none")
    for name in ("wandb", "mlflow"):
        with pytest.raises(InputError, match=f"Run: pip install {name}"):
            require_tracker(name)


def train_killed_twice(folder: Path, tracker: str) -> TrainerOptions:
    """Trains four epochs, killed before the third epoch's state is saved, and then from a copy of the first epoch's
    state, as if that of the second were lost: the tracker has later steps than the resumed training."""
    options = replace(options_of(folder), tracker=tracker)
    with pytest.raises(Killed):
        train(ToyTask(BLEU4, kill=(2, 0)), options)
    state = (options.last / "state.pt").read_bytes()
    for kill in KILLS:
        (options.last / "state.pt").write_bytes(state)
        with pytest.raises(Killed):
            train(ToyTask(BLEU4, kill=kill), options)
    train(ToyTask(BLEU4), options)
    return options


def assert_curves_are_those_of_the_log(curves: Curves, options: TrainerOptions) -> None:
    lines = read_metrics(options.last / "metrics.jsonl")
    steps = [line for line in lines if line["kind"] == "step"]
    epochs = [line for line in lines if line["kind"] == "epoch"]
    assert [line["step"] for line in steps] == [10, 20, 30, 40]
    expected = {
        "train/loss": [(line["step"], line["loss"]) for line in steps],
        "train/lr": [(line["step"], line["lr"]) for line in steps],
        "grad_norm/last": [(line["step"], line["grad_norm/last"]) for line in steps],
        "epoch/loss": [(line["step"], line["loss"]) for line in epochs],
        "dev/bleu4": [(12 * (epoch + 1), score) for epoch, score in enumerate(BLEU4)],
    }
    for name, points in expected.items():
        assert [step for step, _ in curves[name]] == [step for step, _ in points], name
        assert [value for _, value in curves[name]] == pytest.approx([value for _, value in points], rel=1e-5), name


def test_tensorboard_has_each_step_of_a_killed_training_once(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    options = train_killed_twice(tmp_path, "tensorboard")
    events = EventAccumulator(str(tmp_path / "last" / "tensorboard"))
    events.Reload()
    found = {name: [(point.step, point.value) for point in events.Scalars(name)] for name in events.Tags()["scalars"]}
    assert_curves_are_those_of_the_log(found, options)


def records_of(file: Path) -> Iterator[bytes]:
    """Yields the records of an offline file of W&B: a header of 7 bytes, then LevelDB's log format, in which each chunk
    of a record begins with its checksum, length and kind, and crosses no border between blocks of 32 KiB."""
    data, at, record = file.read_bytes(), 7, b""
    assert data[:4] == b":W&B"
    while at + 7 <= len(data):
        if (left := 2**15 - at % 2**15) < 7:
            at += left
            continue
        _, length, kind = struct.unpack_from("<IHB", data, at)
        record += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last chunk
            yield record
            record = b""


def read_wandb(folder: Path, run_id: str) -> Curves:
    """Reads the files that W&B writes offline, one for each time that the run was continued. Another process writes
    them, and the last record says that it has finished."""
    from wandb.proto.wandb_internal_pb2 import Record

    files = sorted(folder.rglob(f"run-{run_id}.wandb"))
    assert len(files) == 2 + len(KILLS)
    ends = time.monotonic() + 60
    records: list[list[Any]] = [[]]
    while not all(one and one[-1].HasField("exit") for one in records):
        assert time.monotonic() < ends, "W&B does not finish its files"
        time.sleep(0.05)
        records = [[Record.FromString(data) for data in records_of(file)] for file in files]
    curves: Curves = {}
    for record in (record for one in records for record in one):
        row = {"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in record.history.item}
        for name, value in row.items():
            curves.setdefault(name, []).append((row["_step"], value))
    return curves


def test_weights_and_biases_offline_has_each_step_of_a_killed_training_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    options = train_killed_twice(tmp_path, "wandb")
    run_id = (options.last / "wandb-id.txt").read_text()
    assert_curves_are_those_of_the_log(read_wandb(tmp_path / "wandb", run_id), options)


def test_mlflow_has_each_step_of_a_killed_training_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    options = train_killed_twice(tmp_path / "run", "mlflow")
    run_id = (options.last / "mlflow-id.txt").read_text()
    client = mlflow.MlflowClient()
    [experiment] = client.search_experiments(filter_string="name = 'slt-cache'")
    [run] = client.search_runs([experiment.experiment_id])
    assert (run.info.run_id, run.info.status) == (run_id, "FINISHED")
    found = {
        name: [(point.step, point.value) for point in client.get_metric_history(run_id, name)]
        for name in run.data.metrics
    }
    assert_curves_are_those_of_the_log(found, options)


def test_a_training_that_is_resumed_with_another_store_of_mlflow_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mlflow")
    monkeypatch.chdir(tmp_path)
    options = replace(options_of(tmp_path / "run", epochs=2), tracker="mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'one.db'}")
    with pytest.raises(Killed):
        train(ToyTask(BLEU4, kill=(2, 11)), options)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'other.db'}")
    with pytest.raises(InputError, match=r"compute.tracker mlflow: .*Set MLFLOW_TRACKING_URI as when"):
        train(ToyTask(BLEU4), options)
