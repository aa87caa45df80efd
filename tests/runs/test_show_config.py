"""`config show`: every setting with its value, default, meaning and source."""

import json
from pathlib import Path

import pytest

from slt_cache.config import load_config, save_config
from slt_cache.metrics.registry import METRICS
from slt_cache.runs.run import open_run
from slt_cache.runs.show_config import show_config
from tests.helpers.commands import slt_cache


def test_each_value_is_shown_with_its_default_and_where_it_comes_from(tmp_path: Path) -> None:
    run = tmp_path / "run"
    save_config(load_config("avatar", ["video.fps=25"]), run / "config.yaml")
    ran = slt_cache("config", "show", "--run", run, "--set", "llm.lora.r=4", "--json")
    assert ran.code == 0, ran.err
    shown = json.loads(ran.out)["settings"]
    fps = shown["video.fps"]
    assert (fps["value"], fps["default"], fps["differs"]) == (25.0, 0.0, True)
    assert fps["source"] == str(run / "config.yaml")
    assert (shown["llm.lora.r"]["value"], shown["llm.lora.r"]["source"]) == (4, "--set")
    assert shown["video.fit"]["choices"] == ["stretch", "crop"]
    assert not shown["video.keep_rate"]["differs"]
    assert "seed" in shown


def test_sources_are_the_shipped_config_and_the_default() -> None:
    ran = slt_cache("config", "show", "video", "--config", "tsv")
    assert ran.code == 0, ran.err
    assert "* video.size = 112   (config tsv, default 224)" in ran.out
    assert "  video.fps = 0.0   (default)" in ran.out
    assert "llm." not in ran.out
    one = slt_cache("config", "show", "video.size", "--config", "tsv")
    assert len([line for line in one.out.splitlines() if " = " in line]) == 1


@pytest.mark.parametrize(
    ("part", "meant"), [("vdieo", "video"), ("szie", "video.size"), ("video.sise", "video.size"), ("qqqq", None)]
)
def test_a_mistyped_section_lists_the_sections(part: str, meant: str | None) -> None:
    ran = slt_cache("config", "show", part)
    assert ran.code == 2
    assert "Sections: seed, corpus, video" in ran.err
    assert meant is None or f"Did you mean {meant}?" in ran.err


def test_a_part_that_is_switched_off_shows_none_of_its_settings(tmp_path: Path) -> None:
    off, on = (show_config(open_run(tmp_path / "new", "avatar", settings)) for settings in ([], ["llm.lora.r=4"]))
    without, names = ({one.name for one in shown.settings} for shown in (off, on))
    assert "llm.lora.r" not in without
    assert names - without >= {"llm.lora.r", "llm.lora.targets"}
    [metrics] = show_config(open_run(tmp_path / "new", "avatar"), "scoring.metrics").settings
    assert metrics.choices == tuple(METRICS) and not metrics.differs


def test_weights_by_name_are_one_setting(tmp_path: Path) -> None:
    overrides = ["visual_training.objective=signcl", "visual_training.objective_weights.signcl=0.1"]
    (shown,) = show_config(open_run(tmp_path, "avatar", overrides), "visual_training.objective_weights").settings
    assert (shown.value, shown.default, shown.differs) == ({"signcl": 0.1}, {}, True)
    (usual,) = show_config(open_run(tmp_path, "avatar"), "visual_training.objective_weights").settings
    assert not usual.differs


def test_a_shipped_config_in_place_of_a_setting_is_told_apart() -> None:
    ran = slt_cache("config", "show", "avatar-rich")
    assert ran.code == 2 and "config show --config avatar-rich" in ran.err
