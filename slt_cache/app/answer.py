"""One video through a trained run, as the page shows it: its sentences, where the decoder looked for each word, and
small pictures of the frames that it looked at. Knows no web page."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from slt_cache.app.film import small_film, video_size
from slt_cache.app.limits import Limits, limit_memory
from slt_cache.corpora.base import Clip
from slt_cache.decoding.attention import WordAttention, word_attention
from slt_cache.pipeline.translate import Translation, Translator
from slt_cache.report.frames_seen import seen_frames
from slt_cache.runs.run import Run
from slt_cache.video.chunks import ClipView, Event, PieceReader, plain
from slt_cache.video.packets import packet_index
from slt_cache.video.reader_pool import read_ahead
from slt_cache.video.stream import UnreadableVideo
from slt_cache.video.timeline import timeline

MEGA, GIGA = 1e6, 1e9
SUPPOSED_FPS = 25.0
"""Frames a second of a file that does not tell."""


@dataclass(frozen=True)
class Answer:
    """What the page shows of one video."""

    translation: Translation
    attention: WordAttention
    """Of the best sentence: weights [words, N]."""
    frames: np.ndarray
    """uint8 [T', S, S, 3], the kept frames as the encoder saw them."""
    length: float | None
    """Seconds of video; None where its frame rate is not known."""
    film: str = ""
    """The video itself, small, as a data URI of an mp4; empty where it cannot be shown."""


class TooMuch(UnreadableVideo):
    """A video that is longer or larger than the page takes; its reason says which option allows more."""


@dataclass(frozen=True)
class LimitedReader(PieceReader):
    """Reads no video that is over the limits. The file is asked for its size and its length before a frame of it is
    decoded, in the process that reads it, which may crash."""

    limits: Limits = field(default_factory=Limits)

    def events(self, job: ClipView) -> Iterator[Event]:
        reason = _too_much(job.clip, self.limits)
        if reason:
            yield TooMuch(job.clip.id, job.clip.video, reason)
            return
        limit_memory(self.limits)  # a header may promise less than there is
        try:
            yield from super().events(job)
        except MemoryError:
            reason = "it takes more memory than this page gives to one video (--max-megapixels)"
            yield TooMuch(job.clip.id, job.clip.video, reason)


def _too_much(clip: Clip, limits: Limits) -> str:
    """Why a video is not read; empty where it may be, and for what cannot be opened, which is told when it is read."""
    from av.error import FFmpegError

    try:
        size = video_size(clip.video)
        if size.pixels > limits.megapixels * MEGA:
            return (
                f"its frames have {size.width} x {size.height} pixels, and this page takes {limits.megapixels:g} "
                "megapixels (--max-megapixels)"
            )
        if size.pixels * size.frames > limits.gigapixels * GIGA:
            return (
                f"it has {size.frames:,} frames of {size.width} x {size.height} pixels, and this page takes "
                f"{limits.gigapixels:g} gigapixels in all (--max-gigapixels)"
            )
        packets = packet_index(clip.video)
    except (FFmpegError, ValueError, OSError):
        return ""
    seconds = timeline(packets.num_frames, packets.fps or SUPPOSED_FPS, packets.seconds).length
    if seconds > limits.seconds:
        return f"it is {seconds:.1f} s long, and this page takes {limits.seconds:g} s (--max-seconds)"
    return ""


class Answerer:
    """A trained run, loaded once, and the limits of what is given to it."""

    def __init__(self, run: Run, limits: Limits):
        """Raises InputError where the run is not trained."""
        self.translator = Translator(run)
        self.nbest = self.translator.generation.num_beams
        self._limited = LimitedReader(self.translator.reader.video, limits=limits)

    def of_upload(self, path: Path) -> Answer:
        """Raises UnreadableVideo, TooMuch for one over the limits, and UnstorableFeatures."""
        return self._answer(Clip(path.name, "test", path, None, None, ""), self._limited, self._limited.limits)

    def of_clip(self, clip: Clip) -> Answer:
        """Of the run's own corpus, however long. Raises UnreadableVideo and UnstorableFeatures."""
        return self._answer(clip, self.translator.reader)

    def _answer(self, clip: Clip, reader: PieceReader, limits: Limits | None = None) -> Answer:
        begun = time.monotonic()
        encoded = self.translator.encoded(clip, reader)
        translation = self.translator.of_features(encoded, self.nbest, begun)
        llm = self.translator.llm
        attention = word_attention(llm.model, llm.tokenizer, encoded.features, translation.text)
        fps = encoded.end.fps
        length = translation.frames / fps if fps else None
        return Answer(translation, attention, self._frames(clip, reader), length, small_film(clip, limits))

    def _frames(self, clip: Clip, reader: PieceReader) -> np.ndarray:
        """Read once more, as what the encoder is given is not kept. Raises UnreadableVideo."""
        return seen_frames(read_ahead(plain([clip]), reader, workers=1))
