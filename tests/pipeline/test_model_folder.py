"""What is no model folder is refused with what it is and what to use."""

import shutil
from pathlib import Path

import pytest

from slt_cache.errors import InputError
from slt_cache.pipeline.model_folder import read_model_folder
from tests.helpers.made_run import make_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "run", "mbart")


@pytest.mark.parametrize(
    ("part", "said"),
    [
        (".", "a run folder, not a model folder. Use --run"),
        ("llm/best", "a translator without its visual encoder"),
        ("visual/best", "not a translator"),
        ("llm", "not a model folder: it has no record"),
    ],
)
def test_folders_of_other_kinds(run: Path, part: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_model_folder(run / part)


def test_a_damaged_folder_and_one_that_is_nowhere(run: Path, tmp_path: Path) -> None:
    best = Path(shutil.copytree(run / "llm" / "best", tmp_path / "best"))
    (best / "adapter.safetensors").unlink()
    with pytest.raises(InputError, match=r"adapter\.safetensors"):
        read_model_folder(best)
    with pytest.raises(InputError, match="neither the folder of a saved translator nor available"):
        read_model_folder(tmp_path / "nowhere")
