"""Requirements of a training on the machine and its processes, checked before hours are spent on what comes first."""

import torch

from slt_cache.config import LlmTrainingConfig, OptimizerConfig, VisualTrainingConfig
from slt_cache.device import pick_device
from slt_cache.distributed.processes import size
from slt_cache.errors import InputError
from slt_cache.progress import log
from slt_cache.runs.run import Run
from slt_cache.training.trackers import require_tracker


def require_resources(run: Run, settings: OptimizerConfig) -> torch.device:
    """Returns the device to train on. Raises InputError if this machine lacks the device, its precision or the tracker,
    or if several processes cannot shard the batches."""
    compute = run.config.compute
    require_tracker(compute.tracker)
    _require_shardable(run, settings)
    return pick_device(compute.device, compute.precision)


def _require_shardable(run: Run, settings: OptimizerConfig) -> None:
    """Raises InputError if several processes cannot share the batches, or would chunk them differently."""
    if settings.batch_size < size():
        raise InputError(
            f"batch_size {settings.batch_size}: shared by {size()} processes, so some would get no clip. "
            "Start fewer, or use a larger batch."
        )
    if size() > 1 and run.config.compute.sync_batchnorm and run.config.encoder.chunk_frames is not None:
        raise InputError(
            f"encoder.chunk_frames with {size()} processes: they would wait for each other's statistics in different "
            "numbers of chunks. Set compute.sync_batchnorm=false, or encoder.chunk_frames=null."
        )


def log_effective_batch(name: str, settings: OptimizerConfig) -> None:
    """Logs the effective batch size if it spans several processes or batches, or differs from the paper's, the default
    of both stages. Pre-training and the Light-T baseline have no such default."""
    effective = settings.batch_size * settings.accumulate
    of_the_paper = isinstance(settings, VisualTrainingConfig | LlmTrainingConfig)
    recipe = type(settings).model_fields["batch_size"].default if of_the_paper else None
    if size() == 1 and settings.accumulate == 1 and recipe in (None, effective):
        return
    shard = settings.batch_size / size()
    made = [f"{size()} processes x {shard:g} clips"] if size() > 1 else []
    if settings.accumulate > 1:
        made.append(f"{settings.accumulate} batches" + ("" if made else f" of {settings.batch_size}"))
    how = f" ({', '.join(made)})" if made else ""
    paper = f"; the paper's is {recipe}" if recipe is not None else ""
    log(f"{name}: effective batch {effective}{how}{paper}")
