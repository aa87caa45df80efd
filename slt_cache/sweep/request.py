"""A sweep: which settings are searched over which run, and the run folder of each trial.

RUN/sweeps/NAME/sweep.json       what is searched, and over which settings
RUN/sweeps/NAME/study.journal    Optuna's storage
RUN/sweeps/NAME/start/           what all trials share: encoder, features, tokenizer, pre-trained LLM
RUN/sweeps/NAME/trials/7/        a run folder for each trial, which links it
RUN/sweeps/NAME/trials/7-seed2/  one of the best, repeated
RUN/sweeps/NAME/sweep.html       the page
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from slt_cache.advice import command
from slt_cache.config import differences, save_config, with_settings
from slt_cache.corpora.base import SPLITS
from slt_cache.distributed.processes import size
from slt_cache.errors import InputError
from slt_cache.features.file import CacheFile
from slt_cache.features.place import on_disk
from slt_cache.features.spec import IMPORTED
from slt_cache.files import write_json
from slt_cache.locks import exclusive
from slt_cache.metrics.base import Metric
from slt_cache.metrics.registry import selector_named
from slt_cache.pipeline.train_llm import make_llm
from slt_cache.reading import read_object
from slt_cache.runs.begin_from import begin_from
from slt_cache.runs.run import Run
from slt_cache.runs.settings_use import named
from slt_cache.runs.streams import Caches, caches_named, one_or_all
from slt_cache.sweep.space import Space, read_space

FOLDER = "sweeps"
ABOUT_FILE = "sweep.json"


@dataclass(frozen=True)
class Sweep:
    """A checked sweep."""

    run: Run
    """Run with the features, and with the settings that all trials share."""
    folder: Path
    space: Space
    features: tuple[str, ...]
    """Words that name its caches, as for --features."""

    @property
    def start(self) -> Path:
        return self.folder / "start"

    @property
    def metric(self) -> Metric:
        """Metric on dev that trials are compared by."""
        return selector_named(self.run.config.llm_training.select_by, "llm_training.select_by")

    @property
    def seed(self) -> int:
        """Seed of every trial's training."""
        return self.run.config.of_stage_2.seed

    @property
    def caches(self) -> dict[str, Path]:
        return caches_named(self.run, self.features)

    def trial_folder(self, name: str) -> Path:
        return self.folder / "trials" / name

    def trial(self, name: str, values: Mapping[str, Any]) -> tuple[Run, Caches]:
        """Makes the run folder of a trial with these settings, unless it exists, and returns it with its caches."""
        folder = self.trial_folder(name)
        words = begin_from(self.start, folder, self._words)
        run = self._with(values, folder)
        return run, one_or_all(caches_named(run, words))

    def _with(self, values: Mapping[str, Any], folder: Path) -> Run:
        """Returns a run of these settings. States are not kept, unless asked for: nobody continues dozens of trials."""
        run = self.run
        if "compute.keep_state" not in named(run.overrides):
            values = {**values, "compute.keep_state": False}
        lasting = None if run.lasting is None else with_settings(run.lasting, values)
        return Run(folder, with_settings(run.config, values), lasting)

    @property
    def _words(self) -> list[str]:
        """Words that name the caches for a run begun from `start`."""
        if self._is_imported:
            absolute = {name: path.absolute() for name, path in self.caches.items()}
            return [str(path) if name == path.stem else f"{name}={path}" for name, path in absolute.items()]
        names = list(self.caches)
        return [str(self.start / f"{name}.h5") for name in names] if len(names) > 1 else [str(self.start / "feats.h5")]

    @property
    def _is_imported(self) -> bool:
        return self.run.config.features.level == IMPORTED

    def prepare(self) -> None:
        """Makes what all trials share, unless that is done: the first process does it, and others wait. Raises
        InputError if the folder belongs to a sweep of other settings or features."""
        with exclusive(self.folder / "start.lock", str(self.folder), waits=True):
            self._require_same()
            if not self._is_imported:
                begin_from(self.run.folder, self.start, list(self.features))
            run = self._with({}, self.start)
            save_config(run.lasting or run.config, run.config_file)
            write_json(self.folder / ABOUT_FILE, self._about)
            make_llm(run, one_or_all(caches_named(run, self._words)))

    @property
    def _about(self) -> dict[str, Any]:
        settings = (self.run.lasting or self.run.config).model_dump(mode="json", exclude={"compute"})
        space = {name: asdict(one) for name, one in self.space.items()}
        features = {name: str(path.absolute()) for name, path in self.caches.items()}
        return {"space": space, "settings": settings, "features": features}

    def _require_same(self) -> None:
        about = self.folder / ABOUT_FILE
        if not about.is_file():
            return
        made, asked = read_object(about), self._about
        found = [
            *_changed_space(made["space"], asked["space"]),
            *differences(made["settings"], asked["settings"]),
            *differences(made["features"], asked["features"], "--features "),
        ]
        if found:
            raise InputError(
                f"{self.folder}: a sweep with other settings ({'; '.join(found[:5])}). Go back to them, or use another "
                "--name."
            )


def _changed_space(made: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    names = dict.fromkeys([*made, *asked])
    as_read = {name: {**one, "values": list(one["values"])} if "values" in one else one for name, one in asked.items()}
    return [f"{name} is searched elsewhere" for name in names if made.get(name) != as_read.get(name)]


def sweep_of(run: Run, source: str, features: Sequence[str], name: str | None) -> Sweep:
    """Checks a sweep. Raises InputError for an invalid search space, or without a dev split to compare trials on."""
    if size() > 1:
        raise InputError("sweep runs in one process. Start it without torchrun, once on each machine or GPU.")
    space = read_space(source, run.config)
    if run.config.llm_training.unfreeze != "none":
        raise InputError("llm_training.unfreeze: such a training reads videos, and a sweep only the cache.")
    folder = run.folder / FOLDER / (name or Path(source).stem)
    sweep = Sweep(run, folder, space, tuple(features))
    for path in sweep.caches.values():
        splits = CacheFile(on_disk(path)).splits
        for split in SPLITS[:2]:
            if split not in splits:
                add = command("extract-features", split=split, run=run.folder)
                raise InputError(f"{path}: holds no {split} split, which a sweep needs. Add it: {add}")
    return sweep
