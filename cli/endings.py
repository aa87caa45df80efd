"""How a command ends that did not succeed: an error in, one or two lines and an exit code out.

Imports nothing heavy."""

import atexit
import errno
import os
import select
import signal
import stat
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from difflib import get_close_matches
from typing import Any

from slt_cache.advice import program
from slt_cache.distributed.processes import leave, log_once
from slt_cache.errors import SltCacheError
from slt_cache.write_errors import size_text

from .interruptions import INTERRUPTED, Interrupted, Interruption, interruption

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
FAILED = 1
"""Exit code of a command that failed on the way."""

OUT_OF_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "cannot allocate memory",
    "not enough memory",
    "unable to allocate",
    "alloc_failed",
)
"""Phrases of torch, its allocators and numpy, in lower case."""
PIXELS = (
    "a smaller batch_size with accumulate in its place, compute.precision=bf16, encoder.checkpointing=true, or "
    "encoder.chunk_frames=64 (another training)"
)
SMALLER = {
    "train-visual": PIXELS.replace("batch_size", "visual_training.batch_size", 1),
    "train-joint": PIXELS.replace("batch_size", "llm_training.batch_size", 1),
    "train-llm": "a smaller llm_training.batch_size with llm_training.accumulate in its place, compute.precision=bf16, "
    "or LoRA (llm.lora.r=8)",
    "pretrain": "a smaller llm_pretraining.batch_size with llm_pretraining.accumulate in its place",
    "extract-features": "a smaller features.batch_frames, or fewer compute.workers",
    "eval": "a smaller generation.batch_size, or fewer generation.num_beams",
    "translate": "a smaller generation.batch_size, shorter windows (--window 10), or fewer compute.workers",
    "app": "a smaller generation.batch_size, or shorter videos (--max-seconds)",
}
"""Settings that take less memory, by command."""


class Verbosity:
    """Whether -v was given; the error handler of `program.run`, outside every command, reads it too."""

    traceback = False


def with_errors_as_exit_codes(work: Callable[[], None], name: str, left: Interrupted, options: dict[str, Any]) -> None:
    """Runs the command `name`; exits with its code, and with a message of one or two lines, if it fails."""
    try:
        work()
        leave()
        _log_waiting()
        sys.stdout.flush()
    except Exception as error:
        Interruption.in_import = False  # the last line may import
        if isinstance(error, BrokenPipeError) and reader_is_gone():
            fall_silent()
            raise SystemExit(FAILED) from error
        explanation = explained(error, name)
        if Interruption.came:
            explanation = interruption(left, options), INTERRUPTED
        if explanation is None or Verbosity.traceback:
            raise
        message, code = explanation
        log_once(message, _print_error)
        raise SystemExit(code) from error
    except KeyboardInterrupt:
        Interruption.in_import = False
        log_once(interruption(left, options), _print_error, interrupted=True)
        raise SystemExit(INTERRUPTED) from None


def _log_waiting() -> None:
    """Logs what a command had to say first, even if it said nothing else."""
    progress = sys.modules.get("slt_cache.progress")
    if progress is not None:
        progress.log_waiting()


def _print_error(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def explained(error: Exception, command: str) -> tuple[str, int] | None:
    """Returns what to print about an error, and the exit code; None for a bug of the program itself, whose
    traceback is wanted. `command` is the name of the command."""
    if isinstance(error, SltCacheError):
        return f"error: {error}", error.exit_code
    if is_out_of_memory(error):
        smaller = SMALLER.get(command, "a smaller batch_size, or fewer compute.workers")
        reason = " ".join(str(error).split())[:160]
        what = f"there is not enough memory{f' ({reason})' if reason else ''}"
        return f"error: {what}. Set {smaller}; or close other programs. What was finished is kept.", FAILED
    if isinstance(error, OSError):
        return f"error: {_named(error)}. What was finished is kept.", FAILED
    return None


def is_out_of_memory(error: BaseException) -> bool:
    """Returns whether the machine or its GPU ran out of memory."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in OUT_OF_MEMORY)


def _named(error: OSError) -> str:
    """Returns the file and the reason."""
    reason = error.strerror or " ".join(str(error).split()) or type(error).__name__
    if error.filename is None and error.errno in NO_ROOM and (free := _full_stdout()) is not None:
        return f"standard output: could not be written ({reason}){free}; free some space or write to another disk"
    names = [str(name) for name in (error.filename, error.filename2) if name is not None]
    if error.errno == errno.ENOSPC:
        reason += "; free some space on that disk and run the same command again"
    return f"{' -> '.join(names)}: {reason}" if names else f"the system refused to read or write: {reason}"


def _full_stdout() -> str | None:
    """Returns what is free on the disk that standard output is written to; None if it still takes output."""
    with suppress(ValueError, AttributeError):  # not a file of the operating system
        output = sys.stdout.fileno()
        try:
            os.write(output, b"\n")
        except OSError:
            if not stat.S_ISREG(os.fstat(output).st_mode):
                return ""
            disk = os.fstatvfs(output)
            return f"; {size_text(disk.f_bavail * disk.f_frsize)} are free"
    return None


def misused(error: Any) -> tuple[str, int]:
    """Returns what to print about a command line that cannot be read, and the exit code."""
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":
        return error.format_message(), error.exit_code
    text = " ".join(str(getattr(error, "message", error)).split())
    option = getattr(error, "option_name", None)
    if option is not None and context is not None:
        names = [name for param in context.command.params for name in param.opts]
        text += _nearest(option, names)
    elif text.startswith("No such command") and "Did you mean" not in text and context is not None:
        text += _nearest(text.split("'")[1], context.command.list_commands(context))
    elif text == getattr(error, "message", None) or not text:
        text = " ".join(str(error.format_message()).split())
    words = "" if context is None else context.command_path.partition(" ")[2]
    see = " ".join(filter(None, (program(), words, "--help")))
    return f"error: {text[0].lower()}{text[1:]}{'' if text[-1:] in '.?' else '.'} See {see}", error.exit_code


def _nearest(word: str, known: Iterable[str]) -> str:
    near = get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f". Did you mean {near[0]}?" if near else ""


def reader_is_gone() -> bool:
    """Returns whether nobody reads stdout or stderr any more, as after `| head`."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            look = select.poll()
            look.register(stream.fileno(), 0)
            if any(event & (select.POLLERR | select.POLLNVAL) for _, event in look.poll(0)):
                return True
    return False


def fall_silent() -> None:
    """Drops what would still be written to a pipe without a reader, so that the interpreter does not complain."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def end_quietly() -> None:
    """Makes Ctrl-C end the interpreter silently while it shuts down; registered last, it runs first."""
    with suppress(ValueError):  # not the main thread
        atexit.register(signal.signal, signal.SIGINT, signal.SIG_DFL)
