"""Modules that commands import late; a process that forks many commands imports them once."""

from importlib import import_module

LATE = [
    "slt_cache.cli.program",
    "slt_cache.pipeline.train_llm",
    "slt_cache.pipeline.train_visual",
    "slt_cache.pipeline.extract",
    "slt_cache.pipeline.evaluate",
    "accelerate",
    "peft",
    "rouge_score.rouge_scorer",
    "sacrebleu",
    "torchvision.transforms.v2",
    "transformers.models.mbart.modeling_mbart",
]


def preload() -> None:
    for name in LATE:
        import_module(name)
