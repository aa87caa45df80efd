"""Reproduces the paper's tables by one command, `slt-cache reproduce`, on the demo corpus or on a real one."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slt_cache import __version__
from slt_cache.advice import command
from slt_cache.config import Config, load_config, save_config, with_settings
from slt_cache.config import differences as config_differences
from slt_cache.distributed.processes import size
from slt_cache.errors import InputError
from slt_cache.files import write_json
from slt_cache.locks import exclusive
from slt_cache.models.llm.quantize import require_quantization
from slt_cache.reading import read_object
from slt_cache.reproduce.experiments import experiments
from slt_cache.reproduce.html import write_page
from slt_cache.reproduce.norms import norms_of
from slt_cache.reproduce.objectives import METHODS_TABLE, OBJECTIVES_TABLE, Bench, bench_of
from slt_cache.reproduce.planning import Step, is_done, plan
from slt_cache.reproduce.render import norms_text, table_text, to_json
from slt_cache.reproduce.results import result_of
from slt_cache.reproduce.steps import do_all
from slt_cache.reproduce.tables import Table, tables
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
"""File next to config.yaml with the arguments that it was made from."""


@dataclass(frozen=True)
class Request:
    """A checked request."""

    tables: tuple[Table, ...]
    seeds: tuple[int, ...]
    root: Path
    config: Config
    lasting: Config
    """Settings to save: the same without a temporary choice of device."""
    origin: Mapping[str, Any]
    """Config and `--set` arguments of the folder, from this call or from the one that made it."""
    bench: Bench
    """What the tables of objectives compare."""

    @property
    def steps(self) -> list[Step]:
        return plan(self.tables, self.seeds, self.root, self.config)

    @property
    def saved(self) -> Path:
        """Path of the saved settings."""
        return self.root / "config.yaml"

    def made_by(self, table: str, trained: str) -> str:
        """Returns what a reader needs to reproduce a table, by its name on the command line; `trained` is when its last
        model was trained."""
        words = self.bench.words if table in (OBJECTIVES_TABLE, METHODS_TABLE) else []
        words = [*words, "--seeds", ",".join(map(str, self.seeds)), "--config", self.origin["config"]]
        words += [word for setting in self.origin["set"] for word in ("--set", setting)]
        made = command(f"reproduce {table}", *words)
        settings = hashlib.sha256(self.saved.read_bytes()).hexdigest()[:12]
        return f"made by: {made} (slt-cache {__version__}, config.yaml {settings}, {trained[:10]})"


def request_of(
    names: Sequence[str],
    seeds: str,
    root: Path | None,
    config: str | None,
    settings: Sequence[str],
    device: str | None = None,
    clips: str | None = None,
    objectives: str | None = None,
) -> Request:
    """Checks a request. Raises InputError for unknown tables, invalid seeds, and a folder with other settings."""
    numbers, bench = _seeds(seeds), bench_of(clips, objectives, names)
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
    require_quantization(loaded.llm.quantize)
    preset_of(loaded)
    if loaded.features.level != "sign":
        raise InputError(f"features.level {loaded.features.level}: table 8 compares the levels. Set it to sign.")
    of_paper = tables(loaded)
    known = {**of_paper, **experiments(loaded, bench)}
    askable = list(dict.fromkeys(table.asked_as for table in known.values()))
    unknown = [name for name in names if name not in (*askable, ALL)]
    if unknown:
        raise InputError(f"{', '.join(unknown)}: no such table. Use {', '.join(askable)} or {ALL} (of the paper).")
    wanted = {*names, *(of_paper if ALL in names else ())}
    chosen = tuple(table for table in known.values() if table.asked_as in wanted)
    passing: dict[str, Any] = {} if device is None else {"compute.device": device}
    if "compute.keep_state" not in named(settings):
        passing["compute.keep_state"] = False  # dozens of trainings, which nobody continues
    origin = _origin(saved) if begun else {"config": name, "set": list(settings)}
    return Request(chosen, numbers, root, with_settings(loaded, passing), loaded, origin, bench)


def _has_begun(root: Path) -> bool:
    """Returns whether anything was trained there: settings that a failed start saved may be replaced."""
    return any(has_trained(Run(folder, Config())) for folder in root.glob("seed*/*"))


def _origin(saved: Path) -> Mapping[str, Any]:
    """Reads the arguments that a folder was made with, whatever this call names or omits."""
    made = saved.with_name(ORIGIN_FILE)
    found: dict[str, Any] = read_object(made) if made.is_file() else {"config": str(saved), "set": []}
    return found


def _seeds(seeds: str) -> tuple[int, ...]:
    try:
        numbers = tuple(dict.fromkeys(int(seed) for seed in seeds.split(",")))
    except ValueError as error:
        raise InputError(f"--seeds {seeds}: write whole numbers separated by commas, such as 0,1,2.") from error
    if min(numbers) < 0:
        raise InputError(f"--seeds {seeds}: seeds must not be negative.")
    return numbers


def plan_text(request: Request, estimates: dict[Step, float]) -> str:
    """Lists every step with its estimated duration, and the sum."""
    lines = [f"{len(request.steps)} steps in {request.root}; estimates from short measurements on this device:"]
    for step in request.steps:
        state = "done" if is_done(step, request.config) else duration(estimates[step])
        lines.append(f"{state:>10}  {step.name}")
    lines.append(f"{duration(sum(estimates.values())):>10}  left in all ({sum(estimates.values()) / 3600:.1f} hours)")
    return "\n".join(lines)


def reproduce(request: Request, estimates: dict[Step, float]) -> dict[str, Any]:
    """Runs the remaining steps; returns the results by table, also saved in `reproduce.json`. Raises InputError under
    torchrun, and if another reproduction runs in the folder."""
    if size() > 1:
        raise InputError("reproduce runs in one process. Start it without torchrun; its --config may use one GPU.")
    request.root.mkdir(parents=True, exist_ok=True)
    with exclusive(request.root / "reproduce.lock", str(request.root)):
        write_json(request.root / ORIGIN_FILE, request.origin)  # first, since settings without it would have no origin
        save_config(request.lasting, request.saved)
        do_all(request.steps, request.config, estimates)
        return results_of(request)


def results_of(request: Request) -> dict[str, Any]:
    """Returns rows and text of each table as plain values, and writes reproduce.json, then report.html."""
    found = [
        result_of(table, request.seeds, request.root, request.config)
        for table in request.tables
        if table.name != FIGURE_2
    ]
    origins = {result.table.name: request.made_by(result.table.asked_as, result.trained) for result in found}
    tables: dict[str, Any] = {
        result.table.name: {**to_json(result), "text": f"{table_text(result)}\n{origins[result.table.name]}"}
        for result in found
    }
    norms_lines: list[str] = []
    for table in request.tables:
        if table.name == FIGURE_2:
            norms, trained = norms_of(request.seeds, request.root, request.config)
            norms_lines = [*norms_text(norms, table.finding).splitlines(), request.made_by(FIGURE_2, trained)]
            tables[table.name] = {"norms": [vars(one) for one in norms], "text": "\n".join(norms_lines)}
    page = request.root / "report.html"
    results = {"seeds": list(request.seeds), "run": str(request.root), "report": str(page), "tables": tables}
    write_json(request.root / "reproduce.json", results)
    write_page(page, found, origins, norms_lines, request.seeds, request.root, request.config)
    return results
