"""`train-llm`."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from slt_cache.distributed.processes import join

from .interruptions import Interrupted
from .options import TRAINING_OPTIONS, Options, keep_few_kernels, require_used, takes
from .output import print_trained

if TYPE_CHECKING:
    from slt_cache.runs.run import Run


@takes("train-llm", *TRAINING_OPTIONS, "allow_missing", left=Interrupted.RESUMES)
def train_llm(
    options: Options,
    features: Annotated[
        list[str] | None,
        typer.Option(
            "--features",
            metavar="FILE ...",
            help="Feature cache, looked up here and in the run folder. Several are streams of the same clips, each a "
            "FILE, or NAME=FILE; without a name it is that of the file. [default: feats.h5]",
        ),
    ] = None,
    origin: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="DIR",
            help="Start the new folder --run with the encoder, tokenizer, features and LLM of this run, as links. "
            "[default: what the folder --run holds]",
        ),
    ] = None,
    llm: Annotated[
        str | None,
        typer.Option(
            "--llm",
            metavar="NAME",
            help="Short for --set llm.name=NAME: a hub name or folder, small-mbart, small-mt5, or light-t, the light "
            "translator of stage 1, trained on any cache in minutes. [default: llm.name of the config]",
        ),
    ] = None,
) -> None:
    """Stage 2: fine-tune the adapter and the LLM from the feature cache.

    Example: slt-cache train-llm --features feats.h5 --set llm.name=facebook/mbart-large-cc25
    """
    features = features or ["feats.h5"]
    if origin is not None and options.dry_run:
        options = replace(options, run=origin)  # writes nothing, and reads only what is there
        origin = None
    begun = nullcontext(features) if origin is None else _started_from(origin, options.run, features)
    with begun as features:
        _train(options, llm, features)


def _train(options: Options, llm: str | None, features: Sequence[str]) -> None:
    from slt_cache.runs.own_of_stage_2 import with_own_of_stage_2

    imported = any(one.replace(" ", "") == "features.level=imported" for one in options.settings or [])
    own = [] if llm is None else [f"llm.name={llm}"]
    opened = with_own_of_stage_2(options.open_run(own=own, draws=not imported, begins=imported))
    if opened.config.llm_training.unfreeze != "none":
        _train_unfrozen(options, opened)
    else:
        _train_from_cache(options, opened, features)


def _train_unfrozen(options: Options, opened: "Run") -> None:
    """Trains parts of the encoder too, from videos."""
    keep_few_kernels()
    require_used(opened, "train-llm unfrozen")
    if options.dry_run:
        options.print_dry_run(opened, "train-llm")
        return
    from slt_cache.pipeline.train_joint import train_unfrozen

    record = train_unfrozen(opened, options.restart, options.allow_missing)
    trained = opened.trained_by("train-llm")
    print_trained(options, record, trained, opened.command(f"eval --model {trained.name}"))


def _train_from_cache(options: Options, opened: "Run", features: Sequence[str]) -> None:
    from slt_cache.errors import InputError
    from slt_cache.runs.streams import caches_named, one_or_all
    from slt_cache.text.families import LIGHT_T

    if options.allow_missing:
        raise InputError(
            "--allow-missing: stage 2 opens no videos, unless --set llm_training.unfreeze=temporal or =all. "
            f"The cache decides which clips it has: {opened.command('extract-features --allow-missing')}"
        )
    used = "train-llm" if opened.config.llm.name != LIGHT_T else "train-llm light-t"
    require_used(opened, used, saves=opened.config.llm.pretrained)
    cache = one_or_all(caches_named(opened, features))
    if options.dry_run:
        options.print_dry_run(opened, "train-llm", cache)
        return
    from slt_cache.pipeline.train_llm import train_llm as train

    record = train(opened, cache, options.restart)
    is_found = isinstance(cache, Mapping) or cache == opened.features  # by eval, in the record or the run folder
    trained, named = opened.trained_by("train-llm"), None if is_found else cache
    model = None if trained == opened.llm else trained.name
    print_trained(options, record, trained, opened.command("eval", model=model, features=named))


@contextmanager
def _started_from(origin: Path, run: Path | None, features: Sequence[str]) -> Iterator[list[str]]:
    """Makes the new run folder out of another one, for a block that trains. Yields the names of its feature caches."""
    from slt_cache.errors import InputError
    from slt_cache.runs.begin_from import begun_from

    if run is None:
        raise InputError(f"--from {origin}: name the folder of the new experiment with --run.")
    join()
    with begun_from(origin, run, features) as named:
        yield named
