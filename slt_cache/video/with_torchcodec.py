"""Decodes frames of a video file by torchcodec (extra `torchcodec`), which uses the FFmpeg of the machine."""

from pathlib import Path

import numpy as np

from slt_cache.errors import InputError
from slt_cache.reading import first_line
from slt_cache.video.packets import PacketIndex
from slt_cache.video.stream import FramesAt, VideoError

SETTING = "video.decoder torchcodec"


def require_torchcodec() -> None:
    """Raises InputError if torchcodec is not installed, or cannot be loaded."""
    try:
        import torchcodec.decoders  # noqa: F401
    except ImportError as error:
        raise InputError(
            f"{SETTING}: not installed ({first_line(error)}). Install it: pip install torchcodec, or set "
            "video.decoder=auto."
        ) from error
    except (RuntimeError, OSError) as error:
        raise InputError(
            f"{SETTING}: installed, but it cannot be loaded ({first_line(error)}). Install FFmpeg 4 to 8 with its "
            "shared libraries and the version of torchcodec for this torch, or set video.decoder=auto."
        ) from error


def torchcodec_frames(path: Path, packets: PacketIndex) -> FramesAt | None:
    """Returns torchcodec's function; None if it would give wrong frames, or cannot open the file with the FFmpeg of
    this machine. Raises InputError without torchcodec."""
    require_torchcodec()
    from torchcodec.decoders import VideoDecoder

    if not packets.exact_seeks:
        return None
    try:
        decoder = VideoDecoder(str(path.absolute()), dimension_order="NHWC", num_ffmpeg_threads=1)
    except (RuntimeError, ValueError):
        return None
    if packets.num_frames != len(decoder):
        return None

    def frames_at(indices: list[int]) -> np.ndarray:
        try:
            frames: np.ndarray = decoder.get_frames_at(indices).data.numpy()
        except (RuntimeError, ValueError, IndexError) as error:
            raise VideoError(f"torchcodec cannot read its frames ({first_line(error)})") from error
        return frames

    return frames_at
