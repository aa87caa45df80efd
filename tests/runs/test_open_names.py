"""Names of registries in the settings: an unknown one is refused with the list of those that there are."""

from pathlib import Path

import pytest

from slt_cache.config import load_config
from slt_cache.config.load import shipped_configs
from slt_cache.errors import InputError
from slt_cache.metrics.registry import METRICS
from slt_cache.runs.open_names import REGISTRIES, require_known_names
from slt_cache.runs.run import open_run
from tests.helpers.commands import slt_cache


@pytest.mark.parametrize(
    ("setting", "name"),
    [
        ("scoring.metrics=[meteor]", "scoring.metrics meteor"),
        ("training.select_by=meteor", "visual_training.select_by meteor"),
        ("llm_training.select_by=meteor", "llm_training.select_by meteor"),
    ],
)
def test_an_unknown_metric_lists_what_there_is_before_anything_is_done(setting: str, name: str, tmp_path: Path) -> None:
    ran = slt_cache("train-visual", "--config", "avatar", "--set", setting, "--run", tmp_path / "new")
    assert ran.code == 2 and f"{name}: unknown. Choose one of {', '.join(METRICS)}." in ran.err
    assert not (tmp_path / "new").exists()


def test_an_unknown_preset_lists_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"scoring.preset bleu: unknown. Choose one of plain, phoenix14t"):
        open_run(tmp_path / "new", "avatar", ["scoring.preset=bleu"])


@pytest.mark.parametrize("setting", REGISTRIES)
def test_an_unknown_name_lists_those_of_its_registry(setting: str) -> None:
    value = "[bleu4, nosuch]" if setting == "scoring.metrics" else "nosuch"
    with pytest.raises(InputError) as refused:
        require_known_names(load_config("avatar", [f"{setting}={value}"]))
    assert str(refused.value) == f"{setting} nosuch: unknown. Choose one of {', '.join(REGISTRIES[setting])}."


def test_a_model_of_a_metric_that_needs_none_lists_those_that_do() -> None:
    with pytest.raises(InputError, match=r"scoring\.models\.ter: unknown. Metrics that need a model are bertscore, "):
        require_known_names(load_config("avatar", ["scoring.models.ter=x"]))


def test_the_names_of_every_shipped_config_are_known() -> None:
    for name in shipped_configs():
        require_known_names(load_config(name))
