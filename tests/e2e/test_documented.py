"""The documents are complete: they name every command, config, preset, metric, and every field of the cache format."""

import re
from dataclasses import fields
from pathlib import Path

import typer
from slt_cache.cli.program import program

from slt_cache.cache_tools.layouts.registry import NAMES
from slt_cache.config.load import shipped_configs
from slt_cache.features.checksum_header import FEATURES
from slt_cache.features.layout import FACTS, NUMBERS, STRINGS
from slt_cache.features.spec import FeatureSpec
from slt_cache.metrics.presets import PRESETS
from slt_cache.metrics.registry import METRICS

PROJECT = Path(__file__).parents[2]


def code_in_first_column(document: str, heading: str) -> set[str]:
    """The code of the first column of the first table under a heading, with `bleu1` ... `bleu4` for all between."""
    section = (PROJECT / document).read_text(encoding="utf-8").split(f"# {heading}\n")[1].split("\n## ")[0]
    table = re.search(r"(?:^\|.*\n)+", section, re.MULTILINE)
    assert table is not None, (document, heading)
    rows = [line.split("|")[1] for line in table[0].splitlines()[2:]]
    return {name for row in rows for name in re.findall(r"`([^`]+)`", row)}


def test_every_command_has_a_line_in_the_list_of_commands() -> None:
    table = (PROJECT / "cli/README.md").read_text(encoding="utf-8").split("\n## ")[0]
    named = set(re.findall(r"\[`([a-z-]+)`\]", table))
    listed = typer.main.get_group(program).commands
    assert named == {name for name, command in listed.items() if not command.hidden}


def test_every_command_of_a_group_is_named_where_the_group_is_described() -> None:
    text = (PROJECT / "cli/README.md").read_text(encoding="utf-8")
    for group, command in typer.main.get_group(program).commands.items():
        for name in getattr(command, "commands", ()):
            assert f"{group} {name}" in text, (group, name)


def test_every_config_has_a_line() -> None:
    assert code_in_first_column("configs/README.md", "Which config") == set(shipped_configs())


def test_every_preset_and_every_metric_has_a_line() -> None:
    assert code_in_first_column("slt_cache/metrics/README.md", "Presets") == set(PRESETS)
    metrics = code_in_first_column("slt_cache/metrics/README.md", "Metrics")
    assert metrics | {"bleu2", "bleu3"} == set(METRICS)


def test_every_layout_has_a_line_and_is_in_the_help_of_import_and_export() -> None:
    assert code_in_first_column("cli/README.md", "Features from other encoders") == set(NAMES)
    cache = typer.main.get_group(program).commands["cache"]
    for name in ("import", "export"):
        [option] = [one for one in cache.commands[name].params if one.name == "layout"]  # type: ignore[attr-defined]
        assert all(re.search(rf"\b{layout}\b", option.help) for layout in NAMES), name


def test_the_cache_format_is_described_in_full() -> None:
    document = "slt_cache/features/FORMAT.md"
    assert code_in_first_column(document, "Datasets of a split") == {*NUMBERS, *STRINGS, FEATURES}
    assert code_in_first_column(document, "Attributes of a split") == {*FACTS, "complete", "spec", "spec_sha256"}
    assert code_in_first_column(document, "Spec") == {field.name for field in fields(FeatureSpec)}
