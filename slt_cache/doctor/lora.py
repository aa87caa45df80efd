"""Check: LoRA learns on the device."""

from collections.abc import Iterator

from slt_cache.doctor.base import Check, Finding, Subject, against_cpu, exact
from slt_cache.pipeline.train_llm import train_llm

SETTINGS = ("llm.lora.r=4", "llm_training.lr=0.05")


def _check(subject: Subject) -> Iterator[Finding]:
    here, there = (subject.before_stage_2(name, device, *SETTINGS) for name, device in subject.both("lora"))
    with exact(subject.device):
        for run in (here, there):
            train_llm(run, run.features)
    yield from against_cpu(there.llm, here.llm)


CHECK = Check("lora", "Stage 2 trains LoRA in a frozen LLM.", _check)
