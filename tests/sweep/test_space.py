"""Search spaces: what may be searched, and how a wrong one is refused."""

from pathlib import Path

import pytest

from slt_cache.config import Config, load_config
from slt_cache.errors import InputError
from slt_cache.sweep.space import Choices, Range, Space, first_values, outside, read_space, settings_of, shipped_spaces


def space_of(folder: Path, text: str, config: Config | None = None) -> Space:
    path = folder / "space.yaml"
    path.write_text(text, encoding="utf-8")
    return read_space(str(path), config or load_config("avatar"))


@pytest.mark.parametrize("name", shipped_spaces())
@pytest.mark.parametrize("config", ["avatar", "avatar-rich", "phoenix14t"])
def test_the_own_settings_of_shipped_configs_lie_in_every_shipped_space(name: str, config: str) -> None:
    settings = load_config(config)
    space = read_space(name, settings)
    first = first_values(space, settings)
    assert first is not None and outside(space, settings) == []
    assert settings_of(space, first)["llm_training.lr"] == settings.llm_training.lr


def test_settings_may_be_nested_or_written_with_dots_and_numbers_have_the_type_of_the_setting(tmp_path: Path) -> None:
    text = """
llm_training.lr: {low: 1e-5, high: 1, log: true}
llm_training:
  batch_size: {low: 8, high: 32, step: 8}
  dropout: {low: 0, high: 0.4}
  patience: [null, 5]
  temporal: [null, {stride: 2}]
llm.lora: {r: [4, 8], rslora: [true, false]}
"""
    found = space_of(tmp_path, text)
    assert found == {
        "llm_training.lr": Range(1e-5, 1.0, log=True),
        "llm_training.batch_size": Range(8, 32, step=8, whole=True),
        "llm_training.dropout": Range(0.0, 0.4),
        "llm_training.patience": Choices(("null", "5")),
        "llm_training.temporal": Choices(("null", '{"stride": 2}')),
        "llm.lora.r": Choices(("4", "8")),
        "llm.lora.rslora": Choices(("true", "false")),
    }
    params = {"llm_training.patience": "null", "llm_training.temporal": '{"stride": 2}', "llm_training.lr": 0.1}
    assert settings_of(found, params) == {
        "llm_training.patience": None,
        "llm_training.temporal": {"stride": 2},
        "llm_training.lr": 0.1,
    }


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no settings"),
        ("[1, 2]", "no settings"),
        ("llm_training: {}", "llm_training: {} is nothing to choose from"),
        ("llm_training.lr: []", "llm_training.lr: [] is nothing to choose from"),
        ("llm_training.lr: {}", "llm_training.lr: {} is nothing to choose from"),
        ("llm_training.lr: 0.1", "llm_training.lr: 0.1 is nothing to choose from"),
        ("llm_training.lr: {low: 0.1}", "llm_training.lr: {'low': 0.1} is nothing to choose from"),
        ("llm_training.lrr: [0.1, 0.2]", "unknown key llm_training.lrr; did you mean lr?"),
        ("llm_training.lrr: 0.1", "unknown key llm_training.lrr"),
        ("llm_trainig: {lr: [0.1]}", "unknown key llm_trainig; did you mean llm_training?"),
        ("llm_training.lr.x: [1]", "'lr' is a value, not a section"),
        ("llm_training.lr: [fast, slow]", "llm_training.lr: input should be a valid number"),
        ("llm_training.lr: [true, false]", "llm_training.lr: input should be a valid number"),
        ("llm_training.batch_size: {low: 8.5, high: 32}", "llm_training.batch_size: input should be a valid integer"),
        ("llm_training.batch_size: {low: 8, high: 32, step: 0.5}", "a step of 0.5 leaves the whole numbers"),
        ("llm_training.lr: {low: fast, high: 0.1}", "llm_training.lr: input should be a valid number"),
        ("llm_training.lr: {low: -1, high: 0.1}", "llm_training.lr: input should be greater than 0"),
        ("llm_training.lr: {low: 0.1, high: 0.01}", "from 0.1 to 0.01 is no range"),
        ("llm_training.dropout: {low: 0, high: 0.1, log: true}", "is no range of orders of magnitude"),
        ("llm_training.lr: {low: 0.01, high: 0.1, log: true, step: 0.1}", "a step is above 0 and only without log"),
        ("llm_training.lr: {low: 0.01, high: 0.1, steps: 3}", "is nothing to choose from"),
        ("llm_training.length_buckets: {low: 0, high: 1}", "llm_training.length_buckets: "),
        ("llm_training.objective: [[clip]]", "llm_training.objective: unknown. Choose one of"),
        ("llm_training.select_by: [bleu4, chrf]", "all trials share this setting, since it is what trials"),
        ("scoring.lowercase: [true, false]", "scoring.lowercase: not a setting of stage 2"),
        ("seed: [0, 1]", "seed: not a setting of stage 2"),
        ("video.size: [16, 32]", "not a setting of stage 2, which train-llm does not use"),
        ("light_t.size: [tiny, small]", "not a setting of stage 2"),
        ("llm_training.lr: [0.1, 0.2]\nllm_training.lr: [0.3]", "is given twice"),
    ],
)
def test_an_invalid_space_is_refused_in_a_line_that_names_the_setting(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(InputError) as refused:
        space_of(tmp_path, text)
    assert says in str(refused.value) and "\n" not in str(refused.value)
    assert str(refused.value).startswith(f"sweep {tmp_path / 'space.yaml'}: ")


def test_an_unknown_space_lists_those_that_there_are() -> None:
    with pytest.raises(InputError, match="sweep stage3: neither a file nor a shipped search space"):
        read_space("stage3", load_config("avatar"))


def test_a_light_t_has_settings_of_its_own(tmp_path: Path) -> None:
    light_t = load_config("avatar", ["llm.name=light-t"])
    assert space_of(tmp_path, "light_t.size: [tiny, small]", light_t) == {
        "light_t.size": Choices(('"tiny"', '"small"'))
    }


def test_own_settings_outside_of_the_space_are_named_and_not_tried(tmp_path: Path) -> None:
    config = load_config("avatar")
    space = space_of(tmp_path, "llm_training: {lr: [0.1, 0.2], batch_size: {low: 2, high: 8}, dropout: [null, 0.1]}")
    assert first_values(space, config) is None
    assert outside(space, config) == ["llm_training.lr=0.0003", "llm_training.batch_size=16"]
    grid = space_of(tmp_path, "llm_training.label_smoothing: {low: 0.05, high: 0.3, step: 0.1}")
    assert outside(grid, config) == ["llm_training.label_smoothing=0.2"]
