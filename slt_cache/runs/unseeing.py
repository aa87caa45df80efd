"""What stage 2 says of a stage 1 whose weights hardly see the video."""

from slt_cache.checkpoints.record import whole_record
from slt_cache.metrics.video_gap import blindness
from slt_cache.progress import log
from slt_cache.runs.run import Run
from slt_cache.runs.unfinished import BEST


def log_blind_encoder(run: Run, use: str) -> None:
    """Repeats what stage 1 said if its weights do not see the video; `use` is what stage 2 does with them."""
    made = whole_record(run.visual / BEST)
    if made is not None and (blind := blindness(made.video_gap, made.settings)):
        log(f"stage 2 {use}: {blind}")
