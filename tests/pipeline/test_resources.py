"""What a training needs of its processes and of its machine."""

from pathlib import Path

import pytest

from slt_cache.config import LlmPretrainingConfig, OptimizerConfig, VisualTrainingConfig, load_config
from slt_cache.errors import InputError
from slt_cache.pipeline import resources
from slt_cache.pipeline.resources import log_effective_batch, require_resources
from slt_cache.runs.run import Run


def test_processes_that_would_get_no_clip_and_chunks_in_different_numbers_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(resources, "size", lambda: 4)
    run = Run(Path("run"), load_config("avatar", ["encoder.chunk_frames=32"]))
    with pytest.raises(InputError, match="batch_size 2: shared by 4 processes"):
        require_resources(run, VisualTrainingConfig(batch_size=2))
    with pytest.raises(InputError, match=r"Set compute\.sync_batchnorm=false"):
        require_resources(run, VisualTrainingConfig(batch_size=8))


@pytest.mark.parametrize(
    ("loop", "said"),
    [
        (VisualTrainingConfig(), ""),
        (VisualTrainingConfig(batch_size=3), "effective batch 3; the paper's is 8"),
        (VisualTrainingConfig(batch_size=4, accumulate=2), "effective batch 8 (2 batches of 4); the paper's is 8"),
        (LlmPretrainingConfig(batch_size=7), ""),
    ],
)
def test_an_effective_batch_is_said_where_it_is_not_plain(
    loop: OptimizerConfig, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    log_effective_batch("stage", loop)
    assert capsys.readouterr().err.strip() == (f"stage: {said}" if said else "")
