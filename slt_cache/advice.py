"""Commands suggested in messages, ready to type: with the program's name as started, and quoted arguments."""

import shlex
import sys
from pathlib import Path

MODULE = ("slt_cache", "__main__.py")
"""End of `sys.argv[0]` under `python -m slt_cache`."""
CACHE_FILE = "feats.h5"
"""Name of a run's feature cache, in its folder."""
CONFIG_FILE = "config.yaml"
"""Name of a run's settings, in its folder."""


def program() -> str:
    """Returns `slt-cache`, or `python -m slt_cache` if the program was started that way."""
    started = Path(sys.argv[0]) if sys.argv else Path()
    return "python -m slt_cache" if started.parts[-2:] == MODULE else "slt-cache"


def command(words: str, *values: object, **options: object) -> str:
    """Returns a command to suggest: `words` unchanged, then `values` and `options`, shell-quoted.

    An option of None or False is left out, True is a flag, and a list repeats the option: `command("cache verify",
    path, run=folder)`."""
    parts = [program(), words, *(quoted(value) for value in values)]
    for name, value in options.items():
        option = f"--{name.replace('_', '-')}"
        if value is True:
            parts.append(option)
        elif isinstance(value, list | tuple):
            parts += [_with_value(option, one) for one in value]
        elif value is not None and value is not False:
            parts.append(_with_value(option, value))
    return " ".join(parts)


def quoted(value: object) -> str:
    """Returns one argument of a command, shell-quoted if needed."""
    return shlex.quote(str(value))


def _with_value(option: str, value: object) -> str:
    """Returns an option with its value, joined by `=` if the value would be read as an option."""
    return f"{option}={quoted(value)}" if str(value).startswith("-") else f"{option} {quoted(value)}"


def cache_command(words: str, cache: Path | str, **options: object) -> str:
    """Returns a command about a feature cache: `--run` for the cache of a run, else `--features` with its path."""
    cache = Path(cache)
    by_name = cache.name == CACHE_FILE
    in_run = by_name or (cache.parent / CONFIG_FILE).is_file()
    return command(words, **options, features=None if by_name else cache, run=cache.parent if in_run else None)
