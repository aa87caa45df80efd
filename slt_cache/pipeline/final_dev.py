"""Dev scores of saved weights: after a training, with the search of `eval`, and on resume if dev has changed."""

from dataclasses import replace
from pathlib import Path

from slt_cache.checkpoints.record import Record, read_record
from slt_cache.distributed.processes import barrier, is_main_process
from slt_cache.pipeline.stages import Stage
from slt_cache.progress import log


def dev_is_scored(stage: Stage, record: Record) -> bool:
    """Returns whether there is nothing to score, or the record has scores of this dev split with these beams."""
    if not record.dev or stage.dev_sha256 is None:
        return True
    beams = stage.run.config.generation.num_beams
    return record.dev_beams == beams and record.dev_sha256 in (None, stage.dev_sha256)  # None: of 04acb8d


def with_final_dev(stage: Stage, folder: Path, record: Record) -> Record:
    """Scores the weights in `folder` on dev with the search of `eval`, unless done, and saves the scores in their
    record.

    During training, dev is searched with `generation.dev_beams`, which is fast and selects the best weights; the final
    recorded scores are comparable with those of `eval`. The metrics log keeps the former."""
    if dev_is_scored(stage, record):
        return record
    if record.dev_sha256 not in (None, stage.dev_sha256):
        log(f"{stage.name}: dev has changed since it selected these weights, epoch {record.best_epoch}; they are kept")
    beams = stage.run.config.generation.num_beams
    log(f"{stage.name}: scoring the best weights on dev with {beams} beams")
    return _scored(stage, folder, record, beams)


def score_best_again(stage: Stage) -> dict[str, float]:
    """Scores the best weights so far of an unfinished training on the present dev split."""
    best = stage.unfinished.best
    record = read_record(best)
    assert record is not None  # saved before the state that is resumed
    if is_main_process():
        stage.save_record(best, replace(record, finished=True))  # otherwise it could not be loaded
    barrier()
    return _scored(stage, best, record, stage.run.config.generation.dev_beams).dev or {}


def _scored(stage: Stage, folder: Path, record: Record, beams: int) -> Record:
    dev = stage.score(folder, beams)
    scored = replace(record, dev=dev, dev_beams=beams, dev_sha256=stage.dev_sha256, video_gap=stage.video_gap)
    if is_main_process():
        stage.save_record(folder, scored)
    barrier()
    return scored
