"""The models that a run can hold, one row each: everything else reads their names here, and nothing parses them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from slt_cache.config import Config


@dataclass(frozen=True)
class Variant:
    """One row: what is trained, by which command, and what it starts from."""

    name: str
    """Its folder in the run, and its name for `eval --model`."""
    label: str
    """Its name in tables of scores."""
    training: str
    """What its training is called in headings."""
    stage: str
    """What plans, logs and records call its training."""
    command: str
    """The command that trains it."""
    settings: tuple[tuple[str, Any], ...] = ()
    """(`section.key`, value): the settings with which the command trains it, rather than another model."""
    makes: str | None = None
    """The stage of the run (settings_use.STAGES) that it makes; None for comparisons, whose settings config.yaml does
    not take over."""
    trains_encoder: str = "none"
    """The part of the visual encoder that it trains: none, temporal or all. Such a training reads videos."""
    after_stage_1: bool = False
    """Whether it starts from the encoder of stage 1, or reads its features."""
    llm: bool = True
    """Whether its translator is the LLM; else it is Light-T."""
    pretrained: bool = False
    """Whether its LLM has been pre-trained."""

    @property
    def own_encoder(self) -> bool:
        """Whether an LLM was trained together with an encoder of its own, whose features no cache holds."""
        return self.llm and self.trains_encoder != "none"

    @property
    def from_cache(self) -> bool:
        """Whether it is trained from a feature cache."""
        return self.after_stage_1 and not self.own_encoder

    @property
    def words(self) -> str:
        """The command that trains it, with the settings that choose it."""
        cache = " --features feats.h5" if self.from_cache else ""
        return f"{self.command}{cache}" + "".join(f" --set {key}={_yaml(value)}" for key, value in self.settings)

    def is_chosen(self, config: "Config") -> bool:
        """Whether its command trains it with these settings."""
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
        label="both stages (MBart from the cache)",
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
        label="Light-T baseline, trained on over the same cache",
        training="Light-T baseline, trained on over the same cache",
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
"""What can be scored, by the name of its folder in the run; tables list them in this order."""
PRETRAINING = Variant(
    "llm/pretrained",
    label="the small LLM before stage 2",
    training="pre-training of the small LLM on text alone",
    stage="pre-training",
    command="llm pretrain",
    makes="pretrained",
)
"""Trained on another task with another loss, and so no model that translates signs."""
TRAININGS = {**MODELS, PRETRAINING.name: PRETRAINING}
"""Every training that a run can hold; its weights are in best/ of its folder."""
VISUAL, LLM, SCRATCH, BASELINE = (MODELS[name] for name in ("visual", "llm", "llm-from-scratch", "control"))


def trained_by(command: str, config: "Config") -> Variant:
    """The model that a command trains with these settings; the last row that they choose is the most special one."""
    return [row for row in TRAININGS.values() if row.command == command and row.is_chosen(config)][-1]


def label_of(model: str) -> str:
    """The name of a model in tables; of what is no model of a run, such as an imported score, its own."""
    return MODELS[model].label if model in MODELS else model


def _value(config: "Config", setting: str) -> Any:
    section, _, key = setting.partition(".")
    return getattr(getattr(config, section), key)


def _yaml(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
