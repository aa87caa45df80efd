"""Features that a program of the user's makes: `command:PROGRAM ARGUMENT ...`. The program and its arguments identify
them; README.md says how it is called."""

import hashlib
import json
import shlex
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path

from slt_cache.config import EncoderConfig, VideoConfig
from slt_cache.encoders.base import NamedEncoder, UnreachableWeights
from slt_cache.encoders.own_reader import OwnReader
from slt_cache.errors import InputError
from slt_cache.hashes import file_sha256

UNUSED = ("fps", "keep_rate", "resize", "crop", "fit", "blank", "mean", "std", "decoder")


@dataclass(frozen=True)
class CommandEncoder(OwnReader):
    """Program of the user's; `dim` is 0 until its first features are known."""

    unused = UNUSED  # it reads the videos itself
    arguments: tuple[str, ...] = field(kw_only=True)
    """The program and its first arguments."""
    together: int = field(kw_only=True)
    """Clips per call."""

    @property
    def summary(self) -> str:
        return f"encoder {self.name}: {self.dim:,} channels, made by {shlex.join(self.arguments)}"

    def of_dim(self, dim: int) -> "CommandEncoder":
        """Returns the encoder that accepts features of this many channels only."""
        return replace(self, dim=dim)


class NoProgram(UnreachableWeights):
    """Error of a program that does not exist."""

    own = (*UNUSED, "level", "precision")


def load(which: str, config: EncoderConfig, video: VideoConfig) -> NamedEncoder:
    """Returns the encoder `command:...`. Raises InputError for what is no command line, and if there is no such
    program."""
    try:
        program, *rest = shlex.split(which)
    except ValueError as error:
        raise InputError(
            f"encoder.name command:{which}: no command line ({error}). Quote it as for a shell."
        ) from error
    found = shutil.which(program)
    if found is None:
        raise NoProgram(
            f"encoder.name command:{which}: {program} is no program. Give the path of an executable file (chmod +x)."
        )
    if video.blank:
        raise InputError("video.blank: command:PROGRAM reads the videos itself. Set video.blank=false.")
    identity = [file_sha256(Path(word)) if Path(word).is_file() else word for word in (found, *rest)]
    words = [Path(word).name if Path(word).is_file() else word for word in (found, *rest)]
    return CommandEncoder(
        f"command:{shlex.join(words)}",
        0,
        hashlib.sha256(json.dumps(identity).encode()).hexdigest(),
        "that of the program",
        video,
        arguments=(str(Path(found).absolute()), *rest),
        together=config.clips_per_call,
    )
