"""Tables of the terms of stage 1's loss (training/objectives/): `objectives` on the drawn corpus in several sizes, and
`methods`, those of the field on one corpus."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from slt_cache.config import CROSS_ENTROPY, Config
from slt_cache.corpora.registry import corpus_of
from slt_cache.errors import InputError
from slt_cache.reproduce.tables import BASE, Row, Table
from slt_cache.training.objectives.registry import OBJECTIVES

OBJECTIVES_TABLE, METHODS_TABLE = "objectives", "methods"
CLIPS = (100, 200, 400, 800)
"""Clips of the drawn corpus, over all splits."""
VLP = ("contrastive", "denoising")
"""Terms of GFSLT-VLP's pre-training (Zhou et al. 2023, 3.2)."""
METHODS: Mapping[str, tuple[str, ...]] = {
    "FLa-LLM": (),
    "GFSLT-VLP": VLP,
    "SignCL": ("signcl",),
    "GFSLT-VLP with SignCL": (*VLP, "signcl"),  # as in Ye et al. 2024, table 2
}
FEWEST_CLIPS = 20
"""Of corpus.clips."""
_VARIANT = re.compile(r"(?:clips-(\d+))?-?(?:with-(.+))?")


@dataclass(frozen=True)
class Bench:
    """What the two tables compare."""

    clips: tuple[int, ...] = CLIPS
    mixes: tuple[tuple[str, ...], ...] | None = None
    """Terms besides the cross-entropy, of each row after it; None for each term alone, and GFSLT-VLP's together."""

    @property
    def words(self) -> list[str]:
        """Returns the options of the command line that differ from their defaults."""
        clips = [] if self.clips == CLIPS else ["--clips", ",".join(map(str, self.clips))]
        return clips + ([] if self.mixes is None else ["--objectives", ",".join(map("+".join, self.mixes))])


EVERYTHING = Bench()


def bench_of(clips: str | None, objectives: str | None, names: Sequence[str]) -> Bench:
    """Reads the options. Raises InputError for those that are invalid, or that no named table has."""
    for option, value, tables in (
        ("--clips", clips, (OBJECTIVES_TABLE,)),
        ("--objectives", objectives, (OBJECTIVES_TABLE, METHODS_TABLE)),
    ):
        if value is not None and not set(tables) & set(names):
            raise InputError(f"{option} {value}: only for the {' and '.join(tables)} tables. Name one, or omit it.")
    try:
        sizes = CLIPS if clips is None else tuple(dict.fromkeys(int(size) for size in clips.split(",")))
    except ValueError as error:
        raise InputError(f"--clips {clips}: write whole numbers separated by commas, such as 100,400.") from error
    if min(sizes) < FEWEST_CLIPS:
        raise InputError(f"--clips {clips}: at least {FEWEST_CLIPS} clips, which three splits need.")
    return Bench(sizes, None if objectives is None else _mixes(objectives))


def _mixes(objectives: str) -> tuple[tuple[str, ...], ...]:
    mixes = []
    for mix in objectives.split(","):
        names = [name.strip() for name in mix.split("+")]
        unknown = [name for name in names if name not in OBJECTIVES]
        if unknown:
            raise InputError(
                f"--objectives {objectives}: {unknown[0]!r} is no objective. Use {', '.join(OBJECTIVES)}, "
                "several in one training as in contrastive+signcl."
            )
        mixes.append(tuple(sorted({*names} - {CROSS_ENTROPY})))
    return tuple(mix for mix in dict.fromkeys(mixes) if mix)


def objective_tables(config: Config, bench: Bench) -> list[Table]:
    """Returns the tables, of the corpus in each size if it is drawn."""
    alone = [(name,) for name in OBJECTIVES if name != CROSS_ENTROPY]
    mixes = [(), *([*alone, VLP] if bench.mixes is None else bench.mixes)]
    is_drawn = corpus_of(config).is_drawn
    sizes = bench.clips if is_drawn else (config.corpus.clips,)
    tables = [
        Table(
            f"{OBJECTIVES_TABLE}-{clips}" if is_drawn else OBJECTIVES_TABLE,
            f"terms of stage 1's loss{f', {clips} clips' if is_drawn else ''}",
            "",
            tuple(Row(_label(mix), variant_of(config, clips, mix), "llm") for mix in mixes),
            stage_1=True,
            asked=OBJECTIVES_TABLE,
        )
        for clips in sizes
    ]
    own = [mix for mix in bench.mixes or () if mix not in METHODS.values()]
    methods = {**METHODS, **{f"own mix: {_label(mix)}": mix for mix in own}}
    rows = tuple(Row(name, variant_of(config, config.corpus.clips, mix), "llm") for name, mix in methods.items())
    return [*tables, Table(METHODS_TABLE, "methods, as terms of stage 1's loss", "", rows, stage_1=True)]


def _label(mix: Sequence[str]) -> str:
    return f"with {', '.join(mix)}" if mix else f"{CROSS_ENTROPY} alone"


def variant_of(config: Config, clips: int, mix: Sequence[str]) -> str:
    """Returns the name of the variant with this many clips and these terms besides the cross-entropy."""
    size = "" if clips == config.corpus.clips else f"clips-{clips}"
    own = set(config.visual_training.objective) == {CROSS_ENTROPY, *mix}
    terms = "" if own else f"with-{'+'.join(mix or (CROSS_ENTROPY,))}"
    return "-".join(part for part in (size, terms) if part) or BASE


def parts_of(variant: str) -> tuple[int | None, tuple[str, ...] | None]:
    """Returns number of clips and terms that a variant has instead of the run's own."""
    found = _VARIANT.fullmatch(variant)
    if found is None:
        return None, None
    clips, terms = found.groups()
    return (None if clips is None else int(clips)), (None if terms is None else tuple(terms.split("+")))


def of_size(variant: str) -> str:
    """Returns the variant with the same clips and the run's own settings, whose LLM and tokenizer it uses."""
    clips, _ = parts_of(variant)
    return BASE if clips is None else f"clips-{clips}"


def objective_settings(variant: str, config: Config) -> dict[str, Any]:
    """Returns the settings of a variant by `section.key`; none for one of another table."""
    clips, terms = parts_of(variant)
    own: dict[str, Any] = {} if clips is None else {"corpus.clips": clips}
    if terms is not None:
        weights = config.visual_training.objective_weights
        own["visual_training.objective"] = list(terms)
        own["visual_training.objective_weights"] = {name: weights[name] for name in terms if name in weights}
    return own
