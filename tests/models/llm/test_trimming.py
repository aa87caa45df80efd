"""The rows of a trimmed model, and the settings that name tokens."""

from pathlib import Path

import pytest
from transformers import AutoModelForSeq2SeqLM

from slt_cache.errors import InputError
from slt_cache.models.llm.trimming import trim_model
from tests.helpers.small_llms import make_small_llm


def test_settings_that_name_no_token_are_refused_before_anything_changes(tmp_path: Path) -> None:
    make_small_llm("bart", tmp_path / "whole")
    model = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "whole")
    model.config.forced_eos_token_id = 50
    with pytest.raises(InputError, match="forced_eos_token_id is 50"):
        trim_model(model, [0, 1, 2, 3], {})
    assert len(model.get_input_embeddings().weight) == model.config.vocab_size > 4
