"""A run folder: the config it was made with and the path of everything in it."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path

from slt_cache.advice import CACHE_FILE, CONFIG_FILE, command
from slt_cache.checkpoints.record import whole_record
from slt_cache.config import Config, expanded, for_each_stage, is_as_written, load_config
from slt_cache.errors import InputError, SltCacheError
from slt_cache.folders import has_stepped_aside
from slt_cache.hashes import RECORD_FILE
from slt_cache.locks import exclusive
from slt_cache.progress import log
from slt_cache.runs.open_names import require_known_names
from slt_cache.runs.settings_use import MADE_BY, STAGES, is_used, named, stage_of, value_of
from slt_cache.runs.variants import TRAININGS, trained_by

DEFAULT_CONFIG = "avatar"
PREPARATION = "prepare.json"
"""Name of the report of `prepare`, next to the manifest that it wrote."""


@dataclass(frozen=True)
class Run:
    """Names every path of a run; makes none of them."""

    folder: Path
    config: Config
    """The settings that hold now."""
    lasting: Config | None = None
    """The settings to be saved, where a passing choice such as --device changed the others."""
    named_config: str | None = None
    """The config that the command line named."""
    overrides: tuple[str, ...] = ()
    """The `section.key=value` words of the command line."""
    of_both_stages: tuple[str, ...] = ()
    """Settings that the command line set for both stages at once, as `training.key=value`."""
    longer: bool = False
    """Whether a training may be continued for more epochs than it was made with (--continue)."""
    on_the_way: bool = False
    """Whether a stage is made on the way to another one, whose settings are not saved with it."""

    @property
    def config_file(self) -> Path:
        return self.folder / CONFIG_FILE

    @property
    def manifest(self) -> Path:
        return self.folder / "manifest.tsv"

    @property
    def preparation(self) -> Path:
        return self.folder / PREPARATION

    @property
    def corpus(self) -> Path:
        """Where the demo corpus is drawn."""
        root = self.config.corpus.root
        return Path(root) if root is not None else self.folder / "corpus"

    @property
    def tokenizer(self) -> Path:
        """The small LLM's tokenizer; made before either stage, since both use it."""
        return self.folder / "tokenizer"

    @property
    def visual(self) -> Path:
        return self.folder / "visual"

    @property
    def features(self) -> Path:
        return self.folder / CACHE_FILE

    @property
    def llm(self) -> Path:
        return self.folder / "llm"

    @property
    def pretrained(self) -> Path:
        """The small LLM."""
        return self.folder / "llm" / "pretrained"

    @property
    def trimmed(self) -> Path:
        """The LLM with the pieces of the train split alone; made before either stage, since both use its tokenizer."""
        return self.folder / "llm" / "trimmed"

    def trained_by(self, command: str) -> Path:
        """The folder of the model that a command trains with the run's settings."""
        return self.folder / trained_by(command, self.config).name

    @property
    def evaluation(self) -> Path:
        return self.folder / "eval"

    @property
    def report(self) -> Path:
        return self.folder / "report.html"

    def is_made(self, stage: str) -> bool:
        """Whether a stage, as settings_use.STAGES names it, is finished."""
        if stage == "corpus":
            return self.manifest.is_file()
        if stage == "features":
            return self.features.is_file()
        folder = self.pretrained if stage == "pretrained" else self.folder / stage
        record = whole_record(folder / "best")
        return record is not None and record.finished

    @property
    def of_stage_2(self) -> "Run":
        """The same run with stage 2's seed, which is not saved as the run's."""
        return replace(self, config=self.config.of_stage_2, lasting=self.lasting or self.config)

    def saved_config(self) -> Config | None:
        """The settings in config.yaml; None if there is none."""
        return load_config(str(self.config_file), ()) if self.config_file.is_file() else None

    def train_command(self, cache: Path) -> str:
        """The command that trains stage 2 from a cache that was just extracted, with the settings that it needs."""
        if cache == self.features:
            return self.command("train-llm --features feats.h5")
        saved = (self.saved_config() or Config()).model_dump(mode="json")
        needed = {"features": self.config.features.model_dump(mode="json")}
        if self.config.features.views > 1:
            needed["augmentation"] = self.config.augmentation.model_dump(mode="json")
        changed = [
            f"{section}.{name}={value}"
            for section, settings in needed.items()
            for name, value in settings.items()
            if value != saved[section][name]
        ]
        return command("train-llm", features=cache, set=changed, run=self.folder)

    def command(self, words: str, *values: object, **options: object) -> str:
        """A command to advise, for this run, as `advice.command` takes it; with the settings of this command line that
        are not saved and that the advised command uses."""
        config, settings = self._unsaved(words)
        return command(words, *values, **options, run=self.folder, config=config, set=settings)

    def _unsaved(self, words: str) -> tuple[str | None, list[str]]:
        """The config if the folder has none, and the settings that it has otherwise."""
        if self.named_config is None and not self.overrides:
            return None, []
        saved = self.saved_config()
        if saved is None:
            return None if self.named_config == str(self.config_file) else self.named_config, list(self.overrides)
        name = " ".join(words.split()[: 2 if words.startswith(("llm ", "cache ", "bench ")) else 1])
        before, now = (one.model_dump(mode="json") for one in (saved, self.lasting or self.config))
        changed = [
            one
            for one in self.overrides
            if is_used(setting := one.partition("=")[0].strip(), name)
            and value_of(before, setting) != value_of(now, setting)
        ]
        return None, changed

    def require_used(self, name: str) -> list[str]:
        """Checks the settings of the command line that the command `name` does not use. Raises InputError if one
        contradicts a finished stage; returns the others. `training.key` counts as used if either stage uses it."""
        shared = {setting.partition(".")[2] for setting in self.of_both_stages if is_used(setting, name)}
        useless = [
            setting
            for setting in named(self.overrides)
            if not is_used(setting, name)
            and not (setting in self.of_both_stages and setting.partition(".")[2] in shared)
        ]
        saved = self.saved_config() if useless else None
        before, now = ({} if one is None else one.model_dump(mode="json") for one in (saved, self.config))
        for setting in useless:
            stage, made, asked = stage_of(setting), value_of(before, setting), value_of(now, setting)
            if stage is not None and saved is not None and made != asked and self.is_made(stage):
                raise InputError(
                    f"{setting}: made with {made}, asked for {asked}; {name} does not make {STAGES[stage]} of "
                    f"{self.folder} again. Leave the setting out; or make it again: "
                    f"{command(self._making(stage), set=f'{setting}={asked}', run=self.folder)}"
                )
        return useless

    def _making(self, stage: str) -> str:
        """The command that makes a finished stage again."""
        if stage == "corpus":
            return f"prepare {self.config.corpus.name}"
        return f"{MADE_BY[stage]} --restart" if stage in ("visual", "pretrained", "llm") else MADE_BY[stage]

    def with_own_seed(self) -> "Run":
        """The run for `train-llm`: a seed other than that of the stages before it is stage 2's own."""
        record = whole_record(self.visual / "best") or whole_record(self.pretrained / "best")
        first = None if record is None else record.settings.get("seed")
        if first is None or "seed" not in named(self.overrides):
            return self
        return replace(
            self,
            config=_seeded(self.config, first),
            lasting=None if self.lasting is None else _seeded(self.lasting, first),
        )

    def find_features(self, name: str) -> Path:
        """A cache named on the command line: a bare name is looked up in the working directory, then here."""
        path = Path(name)
        if path.parent == Path() and not path.exists():
            return self.folder / path
        return path


def _seeded(config: Config, first: int) -> Config:
    own = None if config.seed == first else config.seed
    training = config.llm_training.model_copy(update={"seed": own})
    return config.model_copy(update={"seed": first, "llm_training": training})


def open_run(
    folder: Path | str | None = None,
    config: str | None = None,
    overrides: Sequence[str] = (),
    default: str = DEFAULT_CONFIG,
    device: str | None = None,
    *,
    own: Sequence[str] = (),
    begins: bool = False,
    draws: bool = False,
) -> Run:
    """The run that the common options name: without a config the folder's own, else the shipped default;
    without a folder `runs/<config name>`. `own` are settings that options of the command itself stand for.

    Raises InputError for a config that cannot be read; and for a named folder that holds no run, unless the command
    `begins` one. `draws` says that the command would draw the demo corpus in a folder without a config."""
    named_folder = folder is not None
    folder = Path("runs") / Path(config or default).stem if folder is None else Path(expanded(str(folder)))
    saved = folder / CONFIG_FILE
    if named_folder and config is None and not begins and not saved.is_file() and (draws or not folder.is_dir()):
        raise InputError(_no_run(folder))
    if config is None and not begins and not saved.is_file() and _has_weights(folder):
        raise InputError(
            f"{saved}: missing, though {folder} holds trained weights. Restore it from a copy, or name the settings "
            "that they were trained with (--config)."
        )
    _complete_replacements(folder)
    both = for_each_stage([one for one in overrides if for_each_stage([one]) != [one]])
    overrides = for_each_stage(overrides)
    source = config or (str(saved) if saved.is_file() else default)
    words = [*overrides, *own]
    lasting = load_config(source, words)
    require_known_names(lasting)
    if source == str(saved) and not is_as_written(saved):
        log(f"{saved}: was edited, or is damaged: its last line does not match. Its settings are used as they are.")
    passing = lasting if device is None else load_config(source, [*words, f"compute.device={device}"])
    return Run(folder, passing, None if device is None else lasting, config, tuple(overrides), tuple(named(both)))


def _complete_replacements(folder: Path) -> None:
    """Completes a replacement of finished weights that a kill has stopped halfway, on systems that cannot swap folders
    at once, so that the command finds them. A training that is just replacing them is left alone."""
    for stage in (folder / name for name in TRAININGS):
        if has_stepped_aside(stage / "best"):
            from slt_cache.runs.unfinished import Unfinished  # brings torch

            with suppress(SltCacheError), exclusive(stage / "lock", str(stage)):
                Unfinished(stage).settle()


def _has_weights(folder: Path) -> bool:
    return any((folder / name / "best" / RECORD_FILE).is_file() for name in TRAININGS)


def _no_run(folder: Path) -> str:
    """Why a folder is no run, with runs that lie beside it, and what to do."""
    beside = sorted(one.parent.name for one in folder.parent.glob(f"*/{CONFIG_FILE}"))
    near = get_close_matches(folder.name, beside, n=1)
    why = f"holds no {CONFIG_FILE}" if folder.is_dir() else "there is no such run folder"
    meant = f" Did you mean {folder.parent / near[0]}?" if near else ""
    runs = f" Runs beside it: {', '.join(beside[:5])}." if beside and not near else ""
    return (
        f"{folder}: {why}.{meant}{runs} To start a run there, prepare a corpus "
        f"({command('prepare tsv', root='DIR', run=folder)}), or name settings with --config "
        f"(--config {DEFAULT_CONFIG} is the drawn demo corpus)."
    )
