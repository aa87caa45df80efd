"""Libraries that decode video files, by the names of `video.decoder`.

All use FFmpeg and give the same pixels, but for rounding in rare formats."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from slt_cache.video.packets import PacketIndex
from slt_cache.video.stream import FramesAt
from slt_cache.video.with_decord import decord_frames, require_decord
from slt_cache.video.with_torchcodec import require_torchcodec, torchcodec_frames


def nothing() -> None:
    """Stands for a library that is always there."""


@dataclass(frozen=True)
class Decoder:
    """A library that decodes video files."""

    open: Callable[[Path, PacketIndex], FramesAt | None]
    """Function that opens a file; where it returns None, PyAV decodes it."""
    require: Callable[[], None] = nothing
    """Function that raises InputError if the library cannot be used."""
    packages: tuple[str, ...] = ()
    """Packages that determine the pixels besides those that are always installed."""


DECODERS = {
    "auto": Decoder(decord_frames),
    "decord": Decoder(decord_frames, require_decord),
    "pyav": Decoder(lambda path, packets: None),
    "torchcodec": Decoder(torchcodec_frames, require_torchcodec, ("torchcodec",)),
}


def require_decoder(name: str) -> None:
    """Raises InputError if the library that `video.decoder` names cannot be used."""
    DECODERS[name].require()
