"""Run folder: the config of a run and the path of everything in it."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path

from slt_cache.advice import CACHE_FILE, CONFIG_FILE, command
from slt_cache.checkpoints.record import whole_record
from slt_cache.config import Config, expanded, for_each_stage, for_network, is_as_written, load_config
from slt_cache.errors import InputError, SltCacheError
from slt_cache.features.place import located
from slt_cache.folders import has_stepped_aside
from slt_cache.hashes import RECORD_FILE
from slt_cache.locks import exclusive
from slt_cache.progress import log
from slt_cache.runs.open_names import require_known_names
from slt_cache.runs.settings_use import MADE_BY, STAGES, is_used, named, reads_named_alone, stage_of, value_of
from slt_cache.runs.variants import TRAININGS, trained_by
from slt_cache.text.families import small_family

DEFAULT_CONFIG = "avatar"
PREPARATION = "prepare.json"
"""Name of the report of `prepare`, next to the manifest."""


@dataclass(frozen=True)
class Run:
    """Paths and settings of a run; creates nothing."""

    folder: Path
    config: Config
    """Settings in effect."""
    lasting: Config | None = None
    """Settings to be saved, if a temporary choice such as --device changed the others."""
    named_config: str | None = None
    """Config named on the command line."""
    overrides: tuple[str, ...] = ()
    """Overrides of the command line, `section.key=value`."""
    of_both_stages: tuple[str, ...] = ()
    """Settings set on the command line for both stages at once, as `training.key=value`."""
    longer: bool = False
    """Whether a training may be continued for more epochs than it was made with (--continue)."""
    on_the_way: bool = False
    """Whether this stage only prepares another one, whose settings are not saved with it."""

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
        """Folder in which the demo corpus is drawn."""
        root = self.config.corpus.root
        return Path(root) if root is not None else self.folder / "corpus"

    @property
    def tokenizer(self) -> Path:
        """Folder of the small LLM's tokenizer, made before either stage, since both use it."""
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
        """Folder of the pre-trained small LLM."""
        return self.folder / "llm" / "pretrained"

    @property
    def trimmed(self) -> Path:
        """Folder of the LLM trimmed to the tokens of the train split, made before either stage, since both use its
        tokenizer."""
        return self.folder / "llm" / "trimmed"

    @property
    def prompted(self) -> Path:
        """Folder of the trimmed LLM that also keeps the tokens of a prompt, which stage 1 does not need."""
        return self.folder / "llm" / "prompted"

    @property
    def initial(self) -> Path:
        """The translator of another run that stage 2 begins with (llm.init_from)."""
        return self.folder / "llm" / "initial"

    def trained_by(self, command: str) -> Path:
        """Returns the folder of the model that a command trains with the run's settings."""
        return self.folder / trained_by(command, self.config).name

    @property
    def evaluation(self) -> Path:
        return self.folder / "eval"

    @property
    def report(self) -> Path:
        return self.folder / "report.html"

    @property
    def pretrains_llm(self) -> bool:
        """Whether the run trains its LLM on text alone before stage 2: a small one, or to adapt a decoder-only one."""
        llm = self.config.llm
        adapts = self.config.llm_pretraining.adapts
        return llm.init_from is None and llm.pretrained and (small_family(llm.name) is not None or adapts)

    def is_made(self, stage: str) -> bool:
        """Returns whether a stage, named as in settings_use.STAGES, is finished."""
        if stage in ("corpus", "features"):
            return (self.manifest if stage == "corpus" else self.features).exists()
        folder = self.pretrained if stage == "pretrained" else self.folder / stage
        record = whole_record(folder / "best")
        return record is not None and record.finished

    @property
    def of_stage_2(self) -> "Run":
        """Run with stage 2's seed, which is not saved as the run's."""
        return replace(self, config=self.config.of_stage_2, lasting=self.lasting or self.config)

    def saved_config(self) -> Config | None:
        """Returns the settings in config.yaml; None if there is none."""
        return load_config(str(self.config_file), ()) if self.config_file.is_file() else None

    def train_command(self, cache: Path) -> str:
        """Returns the command that trains stage 2 from a newly extracted cache, with the settings it needs."""
        if cache == self.features:
            return self.command("train-llm --features feats.h5")
        saved = (self.saved_config() or Config()).model_dump(mode="json")
        now = self.config.model_dump(mode="json")
        sections = ["features", *(["augmentation"] if self.config.features.views > 1 else [])]
        sections += [] if self.config.encoder.name is None else ["video", "encoder"]
        changed = [
            f"{section}.{name}={'null' if value is None else value}"
            for section in sections
            for name, value in now[section].items()
            if value != saved[section][name]
        ]
        return command("train-llm", features=cache, set=changed, run=self.folder)

    def command(self, words: str, *values: object, **options: object) -> str:
        """Returns a command to suggest for this run, like `advice.command`, with those unsaved settings of this command
        line that it uses."""
        config, settings = self._unsaved(words)
        return command(words, *values, **options, run=self.folder, config=config, set=settings)

    def _unsaved(self, words: str) -> tuple[str | None, list[str]]:
        """Returns the config if the folder has none, and the settings that differ from the saved ones."""
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
            if self._uses(setting := one.partition("=")[0].strip(), name)
            and value_of(before, setting) != value_of(now, setting)
        ]
        return None, changed

    def require_used(self, name: str) -> list[str]:
        """Checks the settings of the command line that the command `name` does not use. Raises InputError if one
        contradicts a finished stage; returns the others. `training.key` counts as used if either stage uses it."""
        shared = {setting.partition(".")[2] for setting in self.of_both_stages if self._uses(setting, name)}
        useless = [
            setting
            for setting in named(self.overrides)
            if not self._uses(setting, name)
            and not (setting in self.of_both_stages and setting.partition(".")[2] in shared)
        ]
        saved = self.saved_config() if useless else None
        before, now = ({} if one is None else one.model_dump(mode="json") for one in (saved, self.config))
        for setting in useless:
            stage, made, asked = stage_of(setting), value_of(before, setting), value_of(now, setting)
            if stage is not None and saved is not None and made != asked and self.is_made(stage):
                raise InputError(
                    f"{setting}: made with {made}, asked for {asked}; {name} does not repeat {STAGES[stage]} of "
                    f"{self.folder}. Leave the setting out, or repeat that stage: "
                    f"{command(self._making(stage), set=f'{setting}={asked}', run=self.folder)}"
                )
        return useless

    def _uses(self, setting: str, name: str) -> bool:
        """Returns whether the command `name` reads a setting in this run. Extraction reads those of a corpus that it
        has to prepare first."""
        prepares = name.startswith("extract-features") and not self.is_made("corpus")
        return is_used(setting, name) or (prepares and stage_of(setting) == "corpus")

    def _making(self, stage: str) -> str:
        """Returns the command that repeats a finished stage."""
        if stage == "corpus":
            return f"prepare {self.config.corpus.name}"
        return f"{MADE_BY[stage]} --restart" if stage in ("visual", "pretrained", "llm") else MADE_BY[stage]

    def find_features(self, name: str) -> Path:
        """Returns the path of a cache named on the command line; a bare name is looked up in the working directory,
        then in the run."""
        path = located(name)
        if path.parent == Path() and not path.exists():
            return self.folder / path
        return path


def open_run(
    folder: Path | str | None = None,
    config: str | None = None,
    overrides: Sequence[str] = (),
    default: str = DEFAULT_CONFIG,
    device: str | None = None,
    *,
    own: Sequence[str] = (),
    for_command: str = "",
    begins: bool = False,
    draws: bool = False,
) -> Run:
    """Opens the run named by the common options: without a config its folder's own, else the shipped default; without a
    folder `runs/<config name>`. `own` are settings that the command's other options stand for. `for_command` is the
    name of the command, which decides whose weights `encoder.weights` sets.

    Raises InputError for an unreadable config, and for a named folder without a run, unless the command `begins` one.
    `draws` says that the command would draw the demo corpus in a folder without a config."""
    named_folder = folder is not None
    folder = Path("runs") / Path(config or default).stem if folder is None else Path(expanded(str(folder)))
    saved = folder / CONFIG_FILE
    if named_folder and config is None and not begins and not saved.is_file() and (draws or not folder.is_dir()):
        raise InputError(_no_run(folder))
    if config is None and not begins and not saved.is_file() and _has_weights(folder):
        raise InputError(
            f"{saved}: missing, but {folder} holds trained weights. Restore it from a copy, or give the settings "
            "that they were trained with (--config)."
        )
    _complete_replacements(folder)
    both = for_each_stage([one for one in overrides if for_each_stage([one]) != [one]])
    overrides = for_each_stage(overrides)
    source = config or (str(saved) if saved.is_file() else default)
    words, of_named = [*overrides, *own], reads_named_alone(for_command)
    lasting = load_config(source, words, of_named)
    words = for_network(words, lasting.encoder.name, of_named)
    require_known_names(lasting)
    if source == str(saved) and not is_as_written(saved):
        log(f"{saved}: edited or damaged: its last line does not match. Its settings are used as they are.")
    passing = lasting if device is None else load_config(source, [*words, f"compute.device={device}"], of_named)
    return Run(
        folder, passing, None if device is None else lasting, config, tuple(words[: len(overrides)]), tuple(named(both))
    )


def _complete_replacements(folder: Path) -> None:
    """Completes a replacement of finished weights that was killed halfway, on systems without atomic swaps, so that the
    command finds them. A training that is replacing them right now is left alone."""
    for stage in (folder / name for name in TRAININGS):
        if has_stepped_aside(stage / "best"):
            from slt_cache.runs.unfinished import Unfinished  # imports torch

            with suppress(SltCacheError), exclusive(stage / "lock", str(stage)):
                Unfinished(stage).settle()


def _has_weights(folder: Path) -> bool:
    return any((folder / name / "best" / RECORD_FILE).is_file() for name in TRAININGS)


def _no_run(folder: Path) -> str:
    """Returns why a folder is not a run, with neighbouring runs and what to do."""
    neighbours = sorted(one.parent.name for one in folder.parent.glob(f"*/{CONFIG_FILE}"))
    near = get_close_matches(folder.name, neighbours, n=1)
    why = f"holds no {CONFIG_FILE}" if folder.is_dir() else "no such run folder"
    meant = f" Did you mean {folder.parent / near[0]}?" if near else ""
    runs = f" Runs next to it: {', '.join(neighbours[:5])}." if neighbours and not near else ""
    return (
        f"{folder}: {why}.{meant}{runs} To start a run there, prepare a corpus "
        f"({command('prepare tsv', root='DIR', run=folder)}), or choose settings with --config "
        f"(--config {DEFAULT_CONFIG} is the drawn demo corpus)."
    )
