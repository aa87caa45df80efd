"""Tables that are not in the paper: LLMs compared, protocols of joint training, losses of stage 1 (objectives.py), and
shares of the clips (datasize.py). `all` omits them."""

from collections.abc import Mapping
from typing import Any

from slt_cache.config import Config, LoraConfig, load_config
from slt_cache.reproduce.datasize import datasize_table
from slt_cache.reproduce.objectives import EVERYTHING, Bench, objective_tables
from slt_cache.reproduce.tables import BASE, Row, Table
from slt_cache.text.families import small_family

WHOLE, LORA, SMALL_MBART = "whole", "lora", "small-mbart"
VARIANTS_OF_LLM = (WHOLE, LORA, SMALL_MBART)
"""Variants of the LLM, over the encoder and the features of the run's own settings."""
VIDEO_EPOCHS, ONE_RATE = "video-epochs", "one-rate"
"""Variants of joint training."""
SMALL_CONFIG = "avatar-rich"
"""The shipped config that has the settings of the small MBart."""
LORA_RATE = 10
"""Learning rate of LoRA to that of the whole LLM; our choice."""

_WHOLE: Mapping[str, Any] = {"llm.lora": None, "llm.dtype": "float32", "llm.quantize": None}
"""Settings of an LLM that is trained whole; only a frozen one may have others."""


def experiments(config: Config, bench: Bench = EVERYTHING) -> dict[str, Table]:
    """Returns all of them by name; rows with the run's own settings are their base."""
    whole, lora = (BASE, LORA) if config.llm.lora is None else (WHOLE, BASE)
    llms: tuple[Row, ...] = (
        Row("pre-trained, whole", whole, "llm"),
        Row("pre-trained, LoRA", lora, "llm"),
        Row("from scratch", whole, "llm-from-scratch"),
    )
    if small_family(config.llm.name) is None:
        llms += (
            Row("small MBart, pre-trained", SMALL_MBART, "llm"),
            Row("small MBart from scratch", SMALL_MBART, "llm-from-scratch"),
        )
    joint = (
        Row("both stages", BASE, "llm"),
        Row("jointly, for the epochs of both stages", BASE, "joint"),
        Row("jointly, for the epochs of stage 1", VIDEO_EPOCHS, "joint"),
        Row("jointly, for the epochs of stage 1, at one learning rate", ONE_RATE, "joint"),
    )
    listed = (
        Table("llms", "the LLM and its training", "", llms, costs=True),
        Table("joint", "protocols of joint training", "", joint, costs=True),
        *objective_tables(config, bench),
        datasize_table(config),
    )
    return {table.name: table for table in listed}


def own_settings(variant: str, config: Config) -> dict[str, Any]:
    """Returns the settings of a variant of these tables by `section.key`; none for any other variant."""
    lr = config.llm_training.lr
    if variant == SMALL_MBART:
        return _small_mbart()
    video_epochs = {"llm_training.epochs": config.visual_training.epochs}
    settings: dict[str, dict[str, Any]] = {
        WHOLE: {**_WHOLE, "llm_training.lr": lr / LORA_RATE},
        LORA: {"llm.lora": LoraConfig(r=16).model_dump(mode="json"), "llm_training.lr": lr * LORA_RATE},
        VIDEO_EPOCHS: video_epochs,
        ONE_RATE: {**video_epochs, "llm_training.encoder_lr": lr, "llm_training.adapter_lr": lr},
    }
    return settings.get(variant, {})


def _small_mbart() -> dict[str, Any]:
    """Returns the small MBart with its pre-training and its learning rate; the corpus and its text stay."""
    small = load_config(SMALL_CONFIG)
    own = {"llm_training.lr": small.llm_training.lr}
    for section, kept in (("llm", {"language", "pretrained"}), ("llm_pretraining", {"seed", "text"})):
        values = getattr(small, section).model_dump(mode="json", exclude=kept)
        own |= {f"{section}.{key}": value for key, value in values.items()}
    return own
