"""Commands that messages advise, as they can be typed: with the program's name as it was started, and quoted words."""

import shlex
import sys
from pathlib import Path

MODULE = ("slt_cache", "__main__.py")
"""End of the path by which `python -m slt_cache` names itself."""
CACHE_FILE = "feats.h5"
"""Name of a run's own feature cache, in its folder."""
CONFIG_FILE = "config.yaml"
"""Name of a run's settings, in its folder."""


def program() -> str:
    """Returns `slt-cache`, or `python -m slt_cache` if the program was started that way."""
    started = Path(sys.argv[0]) if sys.argv else Path()
    return "python -m slt_cache" if started.parts[-2:] == MODULE else "slt-cache"


def command(words: str, *values: object, **options: object) -> str:
    """Returns a command to advise: `words` as they are, then `values` and `options`, quoted for a shell if needed.

    An option of None or False is left out, True is a flag, and one of several values is repeated:
    `command("cache verify", path, run=folder)`."""
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
    """Returns one word of a command, quoted if a shell would read it in another way."""
    return shlex.quote(str(value))


def _with_value(option: str, value: object) -> str:
    """A value that begins with a hyphen would be read as an option of its own."""
    return f"{option}={quoted(value)}" if str(value).startswith("-") else f"{option} {quoted(value)}"


def cache_command(words: str, cache: Path | str, **options: object) -> str:
    """Returns a command about a feature cache by its place alone: for the run in whose folder it lies, if it does."""
    cache = Path(cache)
    by_name = cache.name == CACHE_FILE
    in_run = by_name or (cache.parent / CONFIG_FILE).is_file()
    return command(words, **options, features=None if by_name else cache, run=cache.parent if in_run else None)
