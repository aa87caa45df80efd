"""Stage 1 keeps the tokenizer that it was trained with."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from slt_cache.config import load_config
from slt_cache.errors import InputError
from slt_cache.pipeline.stage_1_tokenizer import require_tokenizer_of_stage_1
from slt_cache.runs.derived import Derived
from slt_cache.runs.run import Run
from slt_cache.text.tokenizer import Tokenizer, load_tokenizer
from tests.helpers.made_run import make_run


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run with a stage 1 whose tokenizer is that of an mBART."""
    folder = make_run(tmp_path_factory.mktemp("runs") / "run", "mbart")
    return Run(folder, load_config(str(folder / "config.yaml")))


def require(run: Run, tokenizer: Tokenizer | None, *settings: str, saves: bool = True, restart: bool = False) -> None:
    asked = replace(run, config=load_config(str(run.config_file), list(settings)), overrides=settings)
    with Derived(asked, "train-llm", restart) as derived:
        require_tokenizer_of_stage_1(asked, tokenizer, derived, saves)


def test_the_same_tokenizer_passes_whatever_else_changes(trained: Run) -> None:
    same = load_tokenizer(trained.config.llm.name, "de_DE")
    require(trained, same, "llm.language=de_DE", "llm_training.lr=1e-3")


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("llm.name=elsewhere", "llm.name: gives another tokenizer than stage 1"),
        ("llm.trim=true", "llm.trim: gives another tokenizer than stage 1"),
        ("llm_pretraining.vocabulary=99", r"llm_pretraining.vocabulary: .*--set llm_pretraining.vocabulary=99"),
    ],
)
def test_a_setting_that_would_outdate_stage_1_is_refused_with_the_way_to_keep_it(
    trained: Run, setting: str, said: str
) -> None:
    with pytest.raises(InputError, match=said):
        require(trained, None, setting)


def test_what_is_not_saved_as_the_run_s_or_decides_no_token_passes(trained: Run) -> None:
    require(trained, None, "llm.trim=true", saves=False)
    require(trained, None, "llm_training.lr=1e-3")


def test_a_run_without_stage_1_has_nothing_to_keep(trained: Run, tmp_path: Path) -> None:
    shutil.copy(trained.config_file, tmp_path)
    require(replace(trained, folder=tmp_path), None, "llm.trim=true")
