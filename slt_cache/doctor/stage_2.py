"""Check: an encoder-decoder is pre-trained and fine-tuned on the device."""

from collections.abc import Iterator

from slt_cache.doctor.base import Check, Finding, Subject, against_cpu, exact
from slt_cache.pipeline.prepare import ensure_clips
from slt_cache.pipeline.pretrain_llm import pretrain
from slt_cache.pipeline.train_llm import train_llm


def _check(subject: Subject) -> Iterator[Finding]:
    on_text, run = subject.run("pre-training", subject.device), subject.before_stage_2("stage-2", subject.device)
    with exact(subject.device):
        pretrain(on_text, ensure_clips(on_text))
        train_llm(run, run.features)
    yield from against_cpu(on_text.pretrained, subject.trained.pretrained)
    yield from against_cpu(run.llm, subject.trained.llm)


CHECK = Check("stage-2", "A small MBart is pre-trained on text, and stage 2 fine-tunes one from the cache.", _check)
