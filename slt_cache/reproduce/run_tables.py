"""`slt-cache reproduce`: the paper's tables by one command, on the demo corpus or on a real one."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slt_cache import __version__
from slt_cache.advice import command
from slt_cache.config import Config, load_config, save_config
from slt_cache.config import differences as config_differences
from slt_cache.distributed.processes import size
from slt_cache.errors import InputError
from slt_cache.files import write_json
from slt_cache.locks import exclusive
from slt_cache.reading import read_object
from slt_cache.reproduce.estimate import estimate
from slt_cache.reproduce.html import write_page
from slt_cache.reproduce.norms import norms_of
from slt_cache.reproduce.planning import Step, is_done, plan
from slt_cache.reproduce.render import norms_text, table_text, to_json
from slt_cache.reproduce.results import result_of
from slt_cache.reproduce.steps import do_all
from slt_cache.reproduce.tables import Table, tables
from slt_cache.reproduce.variants import with_settings
from slt_cache.runs.derived import has_trained
from slt_cache.runs.open_names import require_known_names
from slt_cache.runs.run import Run
from slt_cache.runs.scoring import preset_of
from slt_cache.runs.settings_use import named
from slt_cache.training.progress_bar import duration

DEFAULT_CONFIG = "avatar-rich"
ALL = "all"
FIGURE_2 = "fig2"
ORIGIN_FILE = "origin.json"
"""Beside config.yaml: the words that it was made of."""


@dataclass(frozen=True)
class Request:
    """What is asked for, checked."""

    tables: tuple[Table, ...]
    seeds: tuple[int, ...]
    root: Path
    config: Config
    lasting: Config
    """The settings to be saved: the same but for a passing choice of device."""
    origin: Mapping[str, Any]
    """The config that was named for the folder, and its `set` words: in this call, or in the one that made it."""

    @property
    def steps(self) -> list[Step]:
        return plan(self.tables, self.seeds, self.root, self.config)

    @property
    def saved(self) -> Path:
        """Where its settings are saved."""
        return self.root / "config.yaml"

    def made_by(self, table: str, trained: str) -> str:
        """What a reader needs to make the figures of a table again; `trained` is when its last model was."""
        words = ["--seeds", ",".join(map(str, self.seeds)), "--config", self.origin["config"]]
        words += [word for setting in self.origin["set"] for word in ("--set", setting)]
        made = command(f"reproduce {table}", *words)
        settings = hashlib.sha256(self.saved.read_bytes()).hexdigest()[:12]
        return f"made by: {made} (slt-cache {__version__}, config.yaml {settings}, {trained[:10]})"


def order_of(
    names: Sequence[str],
    seeds: str,
    root: Path | None,
    config: str | None,
    settings: Sequence[str],
    device: str | None = None,
) -> Request:
    """Raises InputError for unknown tables, seeds that are no numbers, and a folder that holds other settings."""
    numbers = _seeds(seeds)
    name = config or DEFAULT_CONFIG
    root = root or Path("runs") / f"reproduce-{Path(name).stem}"
    saved = root / "config.yaml"
    begun = saved.is_file() and _has_begun(root)
    loaded = load_config(str(saved) if config is None and begun else name, settings)
    if begun:
        different = config_differences(load_config(str(saved)).model_dump(mode="json"), loaded.model_dump(mode="json"))
        if different:
            raise InputError(
                f"{root}: holds a reproduction with other settings ({'; '.join(different)}). "
                "Name another folder with --run."
            )
    require_known_names(loaded)
    preset_of(loaded)
    if loaded.features.level != "sign":
        raise InputError(f"features.level {loaded.features.level}: table 8 compares the levels. Set it to sign.")
    known = tables(loaded)
    unknown = [name for name in names if name not in (*known, ALL)]
    if unknown:
        raise InputError(f"{', '.join(unknown)}: no such table. Use {', '.join(known)} or {ALL}.")
    chosen = tuple(known.values()) if ALL in names else tuple(table for table in known.values() if table.name in names)
    passing: dict[str, Any] = {} if device is None else {"compute.device": device}
    if "compute.keep_state" not in named(settings):
        passing["compute.keep_state"] = False  # dozens of trainings, which nobody continues
    origin = _origin(saved) if begun else {"config": name, "set": list(settings)}
    return Request(chosen, numbers, root, with_settings(loaded, passing), loaded, origin)


def _has_begun(root: Path) -> bool:
    """Whether anything has trained there: the settings that a failed start has saved bind nobody."""
    return any(has_trained(Run(folder, Config())) for folder in root.glob("seed*/*"))


def _origin(saved: Path) -> Mapping[str, Any]:
    """What a folder was made with, and not what this call names or leaves out."""
    made = saved.with_name(ORIGIN_FILE)
    found: dict[str, Any] = read_object(made) if made.is_file() else {"config": str(saved), "set": []}
    return found


def _seeds(seeds: str) -> tuple[int, ...]:
    try:
        numbers = tuple(dict.fromkeys(int(seed) for seed in seeds.split(",")))
    except ValueError as error:
        raise InputError(f"--seeds {seeds}: write whole numbers with commas between, such as 0,1,2.") from error
    if min(numbers) < 0:
        raise InputError(f"--seeds {seeds}: seeds are not negative.")
    return numbers


def plan_text(order: Request, estimates: dict[Step, float]) -> str:
    """Every step with what it will take, and the sum."""
    lines = [f"{len(order.steps)} steps in {order.root}; estimates from short measurements on this device:"]
    for step in order.steps:
        state = "done" if is_done(step, order.config) else duration(estimates[step])
        lines.append(f"{state:>10}  {step.name}")
    lines.append(f"{duration(sum(estimates.values())):>10}  left in all ({sum(estimates.values()) / 3600:.1f} hours)")
    return "\n".join(lines)


def estimated(order: Request) -> dict[Step, float]:
    """Seconds of each step."""
    return estimate(order.steps, order.config)


def reproduce(order: Request, estimates: dict[Step, float]) -> dict[str, Any]:
    """Does what is left to do; the results by table, also in `reproduce.json`. Raises InputError under torchrun, and
    where another reproduction works in the folder."""
    if size() > 1:
        raise InputError("reproduce runs in one process. Start it without torchrun; its --config may use one GPU.")
    order.root.mkdir(parents=True, exist_ok=True)
    with exclusive(order.root / "reproduce.lock", str(order.root)):
        write_json(order.root / ORIGIN_FILE, order.origin)  # first: settings without it would hide where they are from
        save_config(order.lasting, order.saved)
        do_all(order.steps, order.config, estimates)
        return results_of(order)


def results_of(order: Request) -> dict[str, Any]:
    """Of each table its rows as plain values and its text, saved in reproduce.json before report.html shows them."""
    found = [
        result_of(table, order.seeds, order.root, order.config) for table in order.tables if table.name != FIGURE_2
    ]
    origins = {result.table.name: order.made_by(result.table.name, result.trained) for result in found}
    tables: dict[str, Any] = {
        result.table.name: {**to_json(result), "text": f"{table_text(result)}\n{origins[result.table.name]}"}
        for result in found
    }
    norms_lines: list[str] = []
    for table in order.tables:
        if table.name == FIGURE_2:
            norms, trained = norms_of(order.seeds, order.root, order.config)
            norms_lines = [*norms_text(norms, table.finding).splitlines(), order.made_by(FIGURE_2, trained)]
            tables[table.name] = {"norms": [vars(one) for one in norms], "text": "\n".join(norms_lines)}
    page = order.root / "report.html"
    results = {"seeds": list(order.seeds), "run": str(order.root), "report": str(page), "tables": tables}
    write_json(order.root / "reproduce.json", results)
    write_page(page, found, origins, norms_lines, order.seeds, order.root, order.config)
    return results
