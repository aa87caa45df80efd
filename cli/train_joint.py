"""`train-joint`."""

from .interruptions import Interrupted
from .options import TRAINING_OPTIONS, Options, keep_few_kernels, require_used, takes
from .output import print_trained


@takes("train-joint", *TRAINING_OPTIONS, "allow_missing", left=Interrupted.RESUMES)
def train_joint(options: Options) -> None:
    """For comparison: train the encoder and the LLM end to end from videos, without stage 1 (paper, table 4).

    Example: slt-cache train-joint --run runs/joint --set llm_training.epochs=10
    """
    keep_few_kernels()
    from slt_cache.pipeline.train_joint import train_joint as train

    opened = options.open_run(draws=True)
    require_used(opened, "train-joint", saves=not opened.config_file.is_file())
    if options.dry_run:
        options.print_dry_run(opened, "train-joint")
        return
    record = train(opened, options.restart, options.allow_missing)
    trained = opened.trained_by("train-joint")
    print_trained(options, record, trained, opened.command(f"eval --model {trained.name}"))
