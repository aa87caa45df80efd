"""Merging of LoRA: a stage 2 trained with LoRA becomes the same translator with LoRA's weights added to the LLM's
own."""

from pathlib import Path

from slt_cache.checkpoints.record import read_record
from slt_cache.checkpoints.translator import load_llm, save_llm
from slt_cache.errors import InputError
from slt_cache.models.llm import lora
from slt_cache.runs.run import Run


def merge_lora(run: Run, out: Path) -> None:
    """Writes a folder like `llm/best`, without `lora/`. Raises InputError if there is nothing to merge, or `out`
    exists."""
    if out.exists():
        raise InputError(f"--out {out}: already exists. Use another folder.")
    best = run.llm / "best"
    record = read_record(best)
    quantize = record and record.settings.get("llm", {}).get("quantize")
    if quantize:
        raise InputError(
            f"{best}: its LLM is quantized (llm.quantize {quantize}), so LoRA cannot be merged without rounding it. "
            "Use the folder as it is, or train with llm.dtype=bfloat16 instead."
        )
    checkpoint = load_llm(best)
    if not lora.has_lora(checkpoint.model.seq2seq):
        raise InputError(f"{best}: not trained with LoRA (llm.lora), so there is nothing to merge.")
    lora.merge_lora(checkpoint.model.seq2seq)
    save_llm(out, checkpoint.model, checkpoint.tokenizer, checkpoint.record)
