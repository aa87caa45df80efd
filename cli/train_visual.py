"""`train-visual`."""

from .interruptions import Interrupted
from .options import TRAINING_OPTIONS, Options, keep_few_kernels, require_used, takes
from .output import print_trained


@takes("train-visual", *TRAINING_OPTIONS, "allow_missing", left=Interrupted.RESUMES)
def train_visual(options: Options) -> None:
    """Stage 1: train the visual encoder with the light translator.

    Example: slt-cache train-visual --set visual_training.epochs=10
    """
    keep_few_kernels()
    from slt_cache.pipeline.train_visual import train_visual as train

    opened = options.open_run(draws=True)
    require_used(opened, "train-visual", saves=True)
    if options.dry_run:
        options.print_dry_run(opened, "train-visual")
        return
    record = train(opened, options.restart, options.allow_missing)
    print_trained(options, record, opened.visual, opened.command("extract-features --split all"))
