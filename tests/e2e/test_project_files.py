"""What stands beside the code says the same as the code: Dockerfile, citation, changelog, hooks, workflow."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

import slt_cache

PROJECT = Path(__file__).parents[2]


def text_of(name: str) -> str:
    return (PROJECT / name).read_text(encoding="utf-8")


def yaml_of(name: str) -> Any:
    return yaml.safe_load(text_of(name))


def test_the_dockerfile_installs_as_the_readme_does() -> None:
    runs = re.findall(r"^RUN (.+)$", text_of("Dockerfile"), flags=re.MULTILINE)
    [block] = [
        block for block in re.findall(r"```sh\n(.*?)```", text_of("README.md"), re.DOTALL) if "pip install ." in block
    ]
    assert runs == block.splitlines()


def test_the_image_gets_all_that_the_package_is_built_from() -> None:
    ignored = text_of(".dockerignore").splitlines()
    assert "*" in ignored
    project = text_of("pyproject.toml")
    folders = {
        folder.split("/")[0] for folder in re.findall(r'^"slt_cache[\w.]*" = "([\w/]+)"$', project, re.MULTILINE)
    }
    files = set(re.findall(r'^readme = "(.+)"$', project, re.MULTILINE)) | {"pyproject.toml", "LICENSE"}
    assert {f"!{name}" for name in folders | files} <= set(ignored)


def test_version_and_date_of_the_citation_are_those_of_the_release() -> None:
    citation = yaml_of("CITATION.cff")
    releases = re.findall(r"^## \[(\d+\.\d+\.\d+)\] - (\d{4}-\d\d-\d\d)$", text_of("CHANGELOG.md"), re.MULTILINE)
    assert releases[0] == (citation["version"], str(citation["date-released"]))
    assert slt_cache.__version__ == citation["version"]
    assert f'version = "{slt_cache.__version__}"' in text_of("pyproject.toml")


def test_the_changelog_keeps_the_form_of_keep_a_changelog() -> None:
    changelog = text_of("CHANGELOG.md")
    headings = re.findall(r"^## (.+)$", changelog, re.MULTILINE)
    assert headings[0] == "[Unreleased]"
    assert all(re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", heading) for heading in headings[1:])
    kinds = re.findall(r"^### (.+)$", changelog, re.MULTILINE)
    assert set(kinds) <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_the_commit_hooks_are_the_checks_of_make() -> None:
    [checks] = re.findall(r"^check: install\n((?:\t.+\n)+)", text_of("Makefile"), re.MULTILINE)
    wanted = [line.strip().replace("$(BIN)", ".venv/bin") for line in checks.splitlines()]
    [repository] = yaml_of(".pre-commit-config.yaml")["repos"]
    assert repository["repo"] == "local"
    assert [hook["entry"] for hook in repository["hooks"]] == wanted
    assert all(not hook["pass_filenames"] and hook["language"] == "system" for hook in repository["hooks"])


def test_the_workflow_runs_what_every_change_must_pass() -> None:
    workflow = yaml_of(".github/workflows/ci.yml")
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    assert ".ci/run" in [step.get("run") for step in steps]
    oldest = re.findall(r'requires-python = ">=(.+)"', text_of("pyproject.toml"))
    assert oldest[0] in workflow["jobs"]["check"]["strategy"]["matrix"]["python"]


@pytest.mark.parametrize("package", ["transformers", "sacrebleu"])
def test_packages_that_break_between_major_versions_have_an_upper_bound(package: str) -> None:
    assert re.search(rf'^    "{package}>=[\d.]+,<\d', text_of("pyproject.toml"), re.MULTILINE)
