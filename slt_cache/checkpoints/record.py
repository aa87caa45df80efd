"""Training record next to the weights: what was trained, with which settings, and how well, as plain JSON."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from slt_cache import __version__
from slt_cache.config import BLEU4, differences
from slt_cache.errors import InputError
from slt_cache.features.spec import UNNAMED_BACKBONE, FeatureSpec
from slt_cache.hashes import OWN_HASH, RECORD_FILE, file_sha256, hashes_of, read_signed, write_signed
from slt_cache.metrics.base import Metric
from slt_cache.metrics.registry import selector_named
from slt_cache.progress import log
from slt_cache.reading import RESTORE, parsed

LOG_FILE = "metrics.jsonl"
"""Metrics of a training, line by line, in the folder of its stage (training/logs.py)."""


@dataclass(frozen=True)
class Record:
    """Record of one stage's training."""

    stage: str
    settings: dict[str, Any]
    """Config sections that determined the weights, and what they were trained on."""
    finished: bool = False
    best_epoch: int = 0
    epochs: int = 0
    seconds: float = 0.0
    memory_bytes: int = 0
    """Peak memory of the training: allocated on its GPU, else resident in its main process; 0 if not measured."""
    parameters: dict[str, int] = field(default_factory=dict)
    """Number of parameters, of encoder, adapter and translator together: those that are `trained`, and `all`."""
    dev: dict[str, float] | None = None
    """Dev scores of the best weights."""
    dev_beams: int | None = None
    """Beams of the search that gave these scores: during training `generation.dev_beams`, which select the best
    weights, and at the end `generation.num_beams`. None without dev."""
    dev_sha256: str | None = None
    """SHA-256 of the scored dev clips and sentences, which only determined which weights were kept."""
    video_gap: dict[str, float] = field(default_factory=dict)
    """Video gap of the best weights on dev (training/video_gap.py); empty if it was not measured."""
    context: dict[str, Any] = field(default_factory=dict)
    """Context needed to interpret the weights but without effect on them: corpus, scoring of dev, generation."""
    threads: int | None = None
    """Threads per process when trained on a CPU; another number changes the rounding of the weights."""
    named: dict[str, str] = field(default_factory=dict)
    """Paths of the files and folders that the settings know by content only (checkpoints/named_files.py)."""
    continued: tuple[int, ...] = ()
    """Epochs after which the training was continued for more (--continue): up to there, the learning rate followed the
    schedule of fewer epochs."""
    files: dict[str, str] = field(default_factory=dict)
    """SHA-256 of every other file in the folder, by relative path (hashes.py)."""
    log_sha256: str | None = None
    """SHA-256 of the training's metrics, which are next to the folder."""
    state_sha256: str | None = None
    """SHA-256 of the last state of the training, which is kept next to the folder to be continued; None if it is
    not."""
    finished_at: str = ""
    """Time of completion, ISO 8601, UTC."""
    tool: str = f"slt-cache {__version__}"

    @property
    def selected_by(self) -> Metric:
        """Metric on dev that selected the weights; recorded only if it is not BLEU-4."""
        loops = (self.settings.get(name, {}) for name in ("visual_training", "llm_training", "llm_pretraining", "loop"))
        key = next((loop["select_by"] for loop in loops if "select_by" in loop), BLEU4)
        return selector_named(key, f"{self.stage}: select_by")

    @property
    def dev_score(self) -> str:
        """Dev score that selected the weights, such as `BLEU-4 20.31`; empty without dev."""
        metric = self.selected_by
        if not self.dev or metric.key not in self.dev:
            return ""
        return f"{metric.label} {self.dev[metric.key]:.{metric.decimals + 1}f}"

    def finish(self, epochs: int, seconds: float) -> "Record":
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        return replace(self, finished=True, epochs=epochs, seconds=seconds, finished_at=now)


LATER = {"named", "dev", "dev_beams", "dev_sha256", "video_gap", "context", "files"}
LATER |= {"log_sha256", "state_sha256", OWN_HASH}
"""Fields that are rewritten when the same weights are scored on dev again."""


ADDED = {"continued", "state_sha256", "memory_bytes", "parameters", "video_gap"}
"""Keys that earlier records do not have, and later ones only with a value."""


def identity_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what two records, as read from disk, share if and only if they describe the same weights."""
    weights = {name: one for name, one in record.get("files", {}).items() if name.endswith(".safetensors")}
    same = {name: value for name, value in record.items() if name not in LATER and (value or name not in ADDED)}
    return {"weights": weights, **same, "settings": with_backbone_named(record.get("settings", {}))}


def with_backbone_named(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a record's settings in their present form, with the backbone named in the encoder and in the features'
    spec, which is JSON. A damaged spec is left as it is."""
    encoder, features = settings.get("encoder"), settings.get("features")
    named = {"encoder": {"backbone": UNNAMED_BACKBONE, **encoder}} if isinstance(encoder, dict) else {}
    try:
        spec = {"features": FeatureSpec.from_json(features).to_json()} if isinstance(features, str) else {}
    except ValueError:
        spec = {}
    return {**settings, **named, **spec}


def is_same_training(one: Record | None, other: Record) -> bool:
    """Returns whether two records describe the same finished training, possibly scored again in between."""
    return one is not None and (one.finished_at, one.seconds) == (other.finished_at, other.seconds)


def write_record(folder: Path, record: Record) -> None:
    """Writes a record without hashes, as for an unfinished training."""
    values = {name: value for name, value in asdict(record).items() if value or name not in ADDED}
    write_signed(folder / RECORD_FILE, values)


def save_record(folder: Path, record: Record) -> None:
    """Writes the record of a folder with the hash of each of its files and, for a finished training, of its log."""
    log = log_of(folder)
    log_sha256 = file_sha256(log) if record.finished and log.is_file() else None
    write_record(folder, replace(record, files=hashes_of(folder), log_sha256=log_sha256))


def log_of(folder: Path) -> Path:
    """Returns the path of the log of the training whose weights are in the folder."""
    return folder.parent / LOG_FILE


def read_record(folder: Path) -> Record | None:
    """Reads the record of a checkpoint folder; None if there is none. Raises InputError for a damaged one."""
    path = folder / RECORD_FILE
    if not path.is_file():
        return None
    try:
        record = parsed(Record, json.dumps(read_signed(path)))
        return replace(record, settings=with_backbone_named(record.settings))
    except ValueError as error:
        raise InputError(f"{path}: not a valid record of this version: {error}. {RESTORE}") from error


CONTENT = re.compile(r"sha256:([0-9a-f]{8})[0-9a-f]{56}")
"""Pattern by which settings refer to a file or folder by content."""
HASHED = {
    "manifest_sha256": "other clips, times or sentences of train",
    "videos_sha256": "videos of train whose content has changed",
    "text_sha256": "other sentences",
    "clips_sha256": "other clips of train in the cache",
    "tokenizer_sha256": "another tokenizer",
    "tokenizer.sha256": "another tokenizer",
    "encoder_sha256": "another encoder",
}
"""Meaning of a difference between hashes in the settings, by the end of their name."""


def _named(difference: str) -> str:
    """Returns a difference for display, with hashes replaced by words."""
    key = difference.partition(":")[0]
    found = next((f"{key}: {meaning}" for end, meaning in HASHED.items() if key.endswith(end)), difference)
    contents = CONTENT.findall(found)
    return f"{key}: other content" if len(contents) == 2 else CONTENT.sub(r"a file or folder (SHA-256 \1...)", found)


def whole_record(folder: Path) -> Record | None:
    """Reads the record of a folder; None even if damaged, for restarts and hints."""
    try:
        return read_record(folder)
    except InputError:
        return None


def _expanded(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the settings with the features' spec, which is JSON, parsed into fields."""
    features = settings.get("features")
    try:
        return {**settings, "features": json.loads(features)} if isinstance(features, str) else dict(settings)
    except json.JSONDecodeError:
        return dict(settings)  # damaged: compared as it is


CLIPS = {"clips", "clips_sha256", "manifest_sha256", "videos_sha256"}
"""Settings that identify the clips a stage was trained on."""


def different_settings(record: Record, asked: Mapping[str, Any]) -> list[str]:
    """Returns `key: made, asked` for every setting that differs. The clips of one of the first runs are not compared:
    its hash of them covers other columns of the manifest; nor is the name of an imported stream with none, since
    imports did not always record it."""
    made, asked = _expanded(record.settings), _expanded(asked)
    if _is_of_first_runs(record):
        made, asked = ({name: one for name, one in each.items() if name not in CLIPS} for each in (made, asked))
        if "tokenizer" in made:
            made["tokenizer"] = {name: one for name, one in made["tokenizer"].items() if name != "name"}
    return differences(_with_streams_named(made, asked), _with_streams_named(asked, made))


def _with_streams_named(settings: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the settings with the streams that they do not name named as in `other`, in every spec of features."""
    named = dict(settings)
    for key, there in other.items():
        here = settings.get(key)
        if isinstance(here, Mapping) and isinstance(there, Mapping):
            named[key] = _with_streams_named(here, there)
            if key == "features" and here.get("stream") is None:
                named[key]["stream"] = there.get("stream")
    return named


def _is_of_first_runs(record: Record) -> bool:
    """Returns whether a training dates from 04acb8d, whose records name the clips of their manifest, but not their
    content."""
    return CLIPS & record.settings.keys() == {"manifest_sha256"}


class OtherSettings(InputError):
    """Error of a training whose settings differ from those asked for."""


def require_same(folder: Path, record: Record, asked: Mapping[str, Any], command: str) -> None:
    """Raises OtherSettings, naming each difference, if a training has other settings than those asked for."""
    different = different_settings(record, asked)
    if not different and _is_of_first_runs(record):
        log(f"{folder}: too old to show whether it was trained on the present clips; only its settings are compared")
    if different:
        raise OtherSettings(
            f"{folder}: {record.stage} was trained with other settings ({'; '.join(map(_named, different))}). "
            f"Choose another folder with --run, or start over: {command} --restart"
        )
