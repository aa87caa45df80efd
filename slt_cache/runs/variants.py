"""Models that a run can hold, one row each: all other code reads their names here, and parses none."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from slt_cache.config import Config


@dataclass(frozen=True)
class Variant:
    """Model of a run: what is trained, by which command, and what it starts from."""

    name: str
    """Name of its folder in the run, and for `eval --model`."""
    label: str
    """Name in tables of scores."""
    training: str
    """Name of its training in headings."""
    stage: str
    """Name of its training in plans, logs and records."""
    command: str
    """Command that trains it."""
    settings: tuple[tuple[str, Any], ...] = ()
    """Settings, (`section.key`, value), with which the command trains this model rather than another."""
    makes: str | None = None
    """Stage of the run (settings_use.STAGES) that it makes; None for comparisons, whose settings config.yaml does not
    adopt."""
    trains_encoder: str = "none"
    """Part of the visual encoder that it trains: none, temporal or all. Such a training reads videos."""
    after_stage_1: bool = False
    """Whether it starts from stage 1's encoder, or reads its features."""
    llm: bool = True
    """Whether its translator is the LLM rather than Light-T."""
    pretrained: bool = False
    """Whether its LLM is pre-trained."""

    @property
    def own_encoder(self) -> bool:
        """Whether an LLM and an encoder were trained together, whose features no cache holds."""
        return self.llm and self.trains_encoder != "none"

    @property
    def from_cache(self) -> bool:
        """Whether it is trained from a feature cache."""
        return self.after_stage_1 and not self.own_encoder

    @property
    def words(self) -> str:
        """Command that trains it, with the settings that select it."""
        cache = " --features feats.h5" if self.from_cache else ""
        return f"{self.command}{cache}" + "".join(f" --set {key}={_yaml(value)}" for key, value in self.settings)

    def is_chosen(self, config: "Config") -> bool:
        """Returns whether its command trains it with these settings."""
        return all(_value(config, setting) == value for setting, value in self.settings)


_ROWS = (
    Variant(
        "visual",
        label="stage 1 alone (Light-T)",
        training="stage 1: visual encoder and Light-T",
        stage="stage 1",
        command="train-visual",
        makes="visual",
        trains_encoder="all",
        llm=False,
    ),
    Variant(
        "llm",
        label="both stages (LLM from the cache)",
        training="stage 2: the LLM from the cache",
        stage="stage 2",
        command="train-llm",
        makes="llm",
        after_stage_1=True,
        pretrained=True,
    ),
    Variant(  # Chen et al. 2024, table 10
        "llm-from-scratch",
        label="the same LLM without pre-training",
        training="stage 2 without pre-training",
        stage="stage 2 from scratch",
        command="train-llm",
        settings=(("llm.pretrained", False),),
        after_stage_1=True,
    ),
    Variant(
        "control",
        label="Light-T baseline, trained further on the cache",
        training="Light-T baseline, trained further on the cache",
        stage="Light-T baseline",
        command="demo",
        after_stage_1=True,
        llm=False,
    ),
    Variant(  # table 9
        "llm-unfreeze-temporal",
        label="both stages, temporal module unfrozen",
        training="stage 2 with the temporal module unfrozen",
        stage="llm-unfreeze-temporal",
        command="train-llm",
        settings=(("llm_training.unfreeze", "temporal"),),
        trains_encoder="temporal",
        after_stage_1=True,
        pretrained=True,
    ),
    Variant(
        "llm-unfreeze-all",
        label="both stages, whole encoder unfrozen",
        training="stage 2 with the whole encoder unfrozen",
        stage="llm-unfreeze-all",
        command="train-llm",
        settings=(("llm_training.unfreeze", "all"),),
        trains_encoder="all",
        after_stage_1=True,
        pretrained=True,
    ),
    Variant(  # table 4
        "joint",
        label="encoder and LLM end to end, no stage 1",
        training="encoder and LLM end to end, no stage 1",
        stage="joint",
        command="train-joint",
        trains_encoder="all",
        pretrained=True,
    ),
    Variant(  # table 5
        "joint-temporal",
        label="the same, backbone frozen",
        training="encoder and LLM end to end, backbone frozen",
        stage="joint-temporal",
        command="train-joint",
        settings=(("llm_training.unfreeze", "temporal"),),
        trains_encoder="temporal",
        pretrained=True,
    ),
)
MODELS = {row.name: row for row in _ROWS}
"""Models that can be scored, by the name of their folder in the run, in the order of tables."""
PRETRAINING = Variant(
    "llm/pretrained",
    label="the small LLM before stage 2",
    training="pre-training of the small LLM on text alone",
    stage="pre-training",
    command="llm pretrain",
    makes="pretrained",
)
"""Pre-training of the small LLM, which has another task and loss, and does not translate signs."""
TRAININGS = {**MODELS, PRETRAINING.name: PRETRAINING}
"""All trainings that a run can hold; their weights are in best/ of their folders."""
VISUAL, LLM, SCRATCH, BASELINE = (MODELS[name] for name in ("visual", "llm", "llm-from-scratch", "control"))


def trained_by(command: str, config: "Config") -> Variant:
    """Returns the model that a command trains with these settings; the last matching row is the most specific."""
    return [row for row in TRAININGS.values() if row.command == command and row.is_chosen(config)][-1]


def label_of(model: str) -> str:
    """Returns the label of a model in tables; other names, such as that of an imported score, stand for themselves."""
    return MODELS[model].label if model in MODELS else model


def _value(config: "Config", setting: str) -> Any:
    section, _, key = setting.partition(".")
    return getattr(getattr(config, section), key)


def _yaml(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
