"""What a translator of videos needs to say how much of a sentence the video decided: the blank step of its features."""

from pathlib import Path

import numpy as np

from slt_cache.advice import command
from slt_cache.corpora.registry import language_code
from slt_cache.encoders.packing import ClipArrays
from slt_cache.errors import InputError, SltCacheError
from slt_cache.features.spec import FeatureSpec, Specs
from slt_cache.grounding.alterations import mean_step
from slt_cache.grounding.evidence import Reader
from slt_cache.pipeline.evaluate import cached_split
from slt_cache.pipeline.model_folder import WholeModel
from slt_cache.progress import log
from slt_cache.runs.run import Run

BLANK_FILE = "blank.safetensors"
"""File of a model folder with the features of a blank step of each stream, by its number."""


def evidence_reader(source: Run | WholeModel, model: WholeModel) -> Reader:
    """Returns what computes the evidence of a model that was loaded from `source`. Raises InputError if neither a
    feature cache nor the model folder has the blank step."""
    specs = model.llm.specs
    blank = blank_step(source, specs) if isinstance(source, Run) else _read_blank(source.folder, specs)
    language = model.llm.tokenizer.language or language_code(model.config)
    return Reader(model.llm.model, model.llm.tokenizer, blank, language)


def blank_step(run: Run, specs: Specs, model: str = "llm") -> ClipArrays:
    """Returns the mean features of a step of the training clips. Raises InputError if they are in no cache of the run,
    or have other features than the model reads."""
    trained = cached_split(run, "train", None, specs, model)
    if trained is None:
        raise InputError(
            f"--reliability: {run.features} lacks the training clips, whose mean features stand for a blank video. "
            f"Extract them: {run.command('extract-features', split='train')}"
        )
    return mean_step(trained)


def write_blank(folder: Path, run: Run, specs: Specs, model: str) -> None:
    """Writes the blank step of a model into its folder; without the features of the training clips, says so."""
    from safetensors.numpy import save_file

    try:
        blank = blank_step(run, specs, model)
    except SltCacheError as error:
        log(f"the model folder will not say how reliable a sentence is: {error}")
        return
    streams = blank if isinstance(blank, tuple) else (blank,)
    save_file({str(number): one for number, one in enumerate(streams)}, folder / BLANK_FILE)


def _read_blank(folder: Path, specs: Specs) -> ClipArrays:
    from safetensors.numpy import load_file

    if not (folder / BLANK_FILE).is_file():
        raise InputError(
            f"--reliability: {folder} has no blank step of its features ({BLANK_FILE}). Export it again from a run "
            f"with its feature cache: {command('export-model', run='RUN', out='NEW')}"
        )
    saved = load_file(folder / BLANK_FILE)
    if isinstance(specs, FeatureSpec):
        return np.asarray(saved["0"])
    return tuple(np.asarray(saved[str(number)]) for number in range(len(specs)))
