"""Writes a diagnosis as a page and as JSON, both to attach to an issue."""

from pathlib import Path

from slt_cache.doctor.base import PASSED
from slt_cache.doctor.examine import Diagnosis, value_text
from slt_cache.files import write_json, write_text
from slt_cache.report.template import render

PAGE, JSON = "doctor.html", "doctor.json"


def write_diagnosis(diagnosis: Diagnosis, folder: Path) -> tuple[Path, Path]:
    """Writes both files into a folder; returns the paths of the page and of the JSON."""
    page, json = folder / PAGE, folder / JSON
    write_json(json, diagnosis.to_json())
    values = {
        "device": diagnosis.machine["device"],
        "machine": {name: value_text(value) for name, value in diagnosis.machine.items() if value not in (None, [])},
        "results": diagnosis.results,
        "passed": sum(one.state == PASSED for one in diagnosis.results),
        "failed": [one for one in diagnosis.results if one.wrong],
        "not_checked": diagnosis.not_checked,
        "value_text": value_text,
    }
    write_text(page, render("doctor.html.jinja", values))
    return page, json
