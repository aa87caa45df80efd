"""Scoring protocols: the settings that they set, what contradicts them, and what signatures state."""

from pathlib import Path

import pytest

from slt_cache.config import PROTOCOLS, Config, ScoringConfig, load_config, save_config, statement
from slt_cache.errors import InputError

OF_SLTBASELINES = "sltbaselines|references:decoded|beams:4|length-penalty:1|dev:bleu4|seeds:0,42,100"


def test_a_protocol_sets_its_settings_and_nothing_else() -> None:
    before, after = (load_config("phoenix14t", more).model_dump() for more in ([], ["scoring.protocol=sltbaselines"]))
    changed = {
        f"{section}.{key}": value
        for section in before
        if isinstance(before[section], dict)
        for key, value in after[section].items()
        if value != before[section][key]
    }
    assert changed == {
        "scoring.protocol": "sltbaselines",
        "scoring.references": "decoded",
        "scoring.final_dot": "add",
        "generation.num_beams": 4,
        "generation.dev_beams": 4,
        "generation.max_new_tokens": 150,
    }


def test_the_final_dot_is_added_on_phoenix14t_alone() -> None:
    for name, expected in (("csl_daily", "keep"), ("phoenix14t", "add"), ("tsv", "keep")):
        assert load_config(name, ["scoring.protocol=sltbaselines"]).scoring.final_dot == expected
    by_preset = load_config("tsv", ["scoring.protocol=sltbaselines", "scoring.preset=phoenix14t"])
    assert by_preset.scoring.final_dot == "add"


@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_protocol_is_stated_with_its_settings(name: str, tmp_path: Path) -> None:
    config = load_config("avatar", [f"scoring.protocol={name}"])
    for setting, value in PROTOCOLS[name].settings.items():
        section, _, key = setting.partition(".")
        assert getattr(getattr(config, section), key) == value
    assert statement(config).startswith(f"{name}|references:{config.scoring.references}")
    save_config(config, tmp_path / "config.yaml")
    assert load_config(str(tmp_path / "config.yaml")) == config


def test_what_signatures_state_of_the_protocols_with_a_search() -> None:
    assert statement(load_config("avatar")) == ""
    assert statement(load_config("avatar", ["scoring.protocol=sltbaselines"])) == OF_SLTBASELINES
    paper = statement(load_config("avatar", ["scoring.protocol=paper"]))
    assert paper == "paper|references:corpus|beams:5|length-penalty:1|dev:bleu4"


@pytest.mark.parametrize(
    "overrides",
    [
        ["scoring.protocol=sltbaselines", "generation.num_beams=5"],
        ["generation.num_beams=5", "scoring.protocol=sltbaselines"],
    ],
)
def test_a_setting_that_contradicts_the_protocol_is_refused(overrides: list[str]) -> None:
    with pytest.raises(InputError, match=r"=sltbaselines has generation.num_beams=4, but 5 is set. Omit"):
        load_config("avatar", overrides)


def test_a_file_is_held_to_its_protocol_and_the_command_line_goes_before_a_file(tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text("scoring: {protocol: sltbaselines}\ngeneration: {num_beams: 5}\n")
    with pytest.raises(InputError, match=r"generation.num_beams=4, but 5 is set"):
        load_config(str(file))
    file.write_text("scoring: {final_dot: strip}\ngeneration: {num_beams: 5}\n")
    assert load_config(str(file), ["scoring.protocol=sltbaselines"]).generation.num_beams == 4
    file.write_text("scoring: {protocol: sltbaselines}\n")
    assert load_config(str(file)).generation.num_beams == 4
    with pytest.raises(InputError, match="but 1 is set"):
        load_config(str(file), ["generation.num_beams=1"])
    free = load_config(str(file), ["generation.num_beams=1", "scoring.protocol=null"])
    assert (free.generation.num_beams, free.scoring.protocol) == (1, None)
    assert load_config(str(file), ["scoring.protocol=paper"]).generation.num_beams == 5


def test_settings_in_python_are_filled_and_held_too() -> None:
    assert Config(scoring=ScoringConfig(protocol="sltbaselines")).generation.num_beams == 4
    with pytest.raises(InputError, match=r"scoring.final_dot=keep, but add is set"):
        Config(scoring=ScoringConfig(protocol="paper", final_dot="add"))


def test_weights_that_were_trained_otherwise_are_said_to_be() -> None:
    config = load_config("avatar", ["scoring.protocol=sltbaselines"])
    made = {"settings": {"seed": 42, "llm_training": {"lr": 1.0}}, "context": {"generation": {"dev_beams": 4}}}
    assert statement(config, made) == OF_SLTBASELINES
    other = {
        "settings": {"seed": 7, "llm_training": {"select_by": "chrf"}},
        "context": {"generation": {"dev_beams": 1}},
    }
    assert statement(config, other) == f"{OF_SLTBASELINES}|but:dev=chrf,seed=7,dev-beams=1"
    paper = load_config("avatar", ["scoring.protocol=paper"])
    assert statement(paper, other).endswith("|dev:bleu4|but:dev=chrf")
