"""A run folder: the config it was made with and the path of everything in it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from slt_cache.advice import command
from slt_cache.config import Config, FeaturesConfig, load_config, save_config
from slt_cache.processes import leads

DEFAULT_CONFIG = "avatar"
SMALL_MBART, SMALL_MT5 = "small-mbart", "small-mt5"
SMALL_LLMS = (SMALL_MBART, SMALL_MT5)
"""Values of llm.name for the LLMs that are pre-trained from the corpus' text."""

MODELS = {
    "visual": "stage 1 alone (Light-T)",
    "llm": "both stages (MBart from the cache)",
    "llm-from-scratch": "the same LLM without pre-training",
    "control": "control: Light-T trained on over the same cache",
    "llm-unfreeze-temporal": "both stages, temporal module learning on",
    "llm-unfreeze-all": "both stages, whole encoder learning on",
    "joint": "encoder and LLM end to end, no stage 1",
    "joint-temporal": "the same, backbone frozen",
}
"""What can be scored, by the name of its run folder, and how tables call it."""
END_TO_END = {
    "llm-unfreeze-temporal": "train-llm --set llm_training.unfreeze=temporal",
    "llm-unfreeze-all": "train-llm --set llm_training.unfreeze=all",
    "joint": "train-joint",
    "joint-temporal": "train-joint --set llm_training.unfreeze=temporal",
}
"""Those that have an encoder of their own, which no cache holds the features of; and what trains them."""


@dataclass(frozen=True)
class Run:
    """Names every path of a run; makes none of them."""

    folder: Path
    config: Config
    """The settings that hold now."""
    lasting: Config | None = None
    """The settings to be saved, where a passing choice such as --device changed the others."""

    @property
    def config_file(self) -> Path:
        return self.folder / "config.yaml"

    @property
    def manifest(self) -> Path:
        return self.folder / "manifest.tsv"

    @property
    def preparation(self) -> Path:
        return self.folder / "prepare.json"

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
        return self.folder / "feats.h5"

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

    @property
    def scratch(self) -> Path:
        """The same LLM without pre-training (paper, table 10)."""
        return self.folder / "llm-from-scratch"

    @property
    def unfrozen(self) -> Path:
        """Stage 2 in which parts of the encoder learn too (paper, table 9)."""
        return self.folder / f"llm-unfreeze-{self.config.llm_training.unfreeze}"

    @property
    def joint(self) -> Path:
        """Encoder and LLM without stage 1 (paper, table 4), or with the backbone frozen (table 5)."""
        frozen = self.config.llm_training.unfreeze == "temporal"
        return self.folder / ("joint-temporal" if frozen else "joint")

    @property
    def control(self) -> Path:
        """Light-T trained on over the cache."""
        return self.folder / "control"

    @property
    def evaluation(self) -> Path:
        return self.folder / "eval"

    @property
    def report(self) -> Path:
        return self.folder / "report.html"

    def save_config(self) -> None:
        if leads():
            save_config(self.lasting or self.config, self.config_file)

    def remember_features(self) -> None:
        """What was extracted is what the run asks for from now on; its other settings stay as they are saved."""
        if self.config_file.is_file():
            saved = load_config(str(self.config_file), ())
            save_config(saved.model_copy(update={"features": self.config.features}), self.config_file)

    def train_command(self, cache: Path) -> str:
        """The command that trains stage 2 from a cache that was just extracted, with the settings that it needs."""
        if cache == self.features:
            return self.command("train-llm --features feats.h5")
        saved = load_config(str(self.config_file), ()).features if self.config_file.is_file() else FeaturesConfig()
        changed = [
            f"features.{name}={value}"
            for name, value in self.config.features.model_dump().items()
            if value != getattr(saved, name)
        ]
        return self.command("train-llm", features=cache, set=changed)

    def command(self, words: str, *values: object, **options: object) -> str:
        """A command to advise, for this run; as `advice.command` takes it."""
        return command(words, *values, **options, run=self.folder)

    def find_features(self, name: str) -> Path:
        """A cache named on the command line: a bare name is looked up in the working directory, then here."""
        path = Path(name)
        if path.parent == Path() and not path.exists():
            return self.folder / path
        return path


def open_run(
    folder: Path | None,
    config: str | None,
    overrides: Sequence[str] = (),
    default: str = DEFAULT_CONFIG,
    device: str | None = None,
) -> Run:
    """The run that the common options name: without a config the folder's own, else the shipped default;
    without a folder `runs/<config name>`. Raises InputError for a config that cannot be read."""
    if folder is None:
        folder = Path("runs") / Path(config or default).stem
    own = folder / "config.yaml"
    source = config or (str(own) if own.is_file() else default)
    lasting = load_config(source, overrides)
    if device is None:
        return Run(folder, lasting)
    return Run(folder, load_config(source, [*overrides, f"compute.device={device}"]), lasting)
