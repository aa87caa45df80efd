"""Translates one video with a trained run, for the page: its sentences, the attention of each word, and small pictures
of the frames. Knows no web page."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from slt_cache.app.film import small_film, video_size
from slt_cache.app.limits import Limits, limit_memory
from slt_cache.corpora.base import Clip
from slt_cache.decoding.attention import WordAttention, word_attention
from slt_cache.pipeline.model_folder import WholeModel
from slt_cache.pipeline.translate import Translation, Translator
from slt_cache.report.attention_maps import attention_name
from slt_cache.report.strips import seen_frames
from slt_cache.runs.run import Run
from slt_cache.video.chunks import ChunkReader, ClipView, Event, plain
from slt_cache.video.packets import SUPPOSED_FPS, packet_index
from slt_cache.video.reader_pool import read_ahead
from slt_cache.video.stream import UnreadableVideo
from slt_cache.video.timeline import timeline

MEGA, GIGA = 1e6, 1e9


@dataclass(frozen=True)
class Answer:
    """Content of the page for one video."""

    translation: Translation
    attention: WordAttention
    """Attention of the best sentence: weights [words, N]."""
    frames: np.ndarray
    """Kept frames as the encoder saw them, uint8 [T', S, S, 3]."""
    length: float | None
    """Seconds of video; None if its frame rate is unknown."""
    attention_name: str = "cross-attention"
    """What the attention is called."""
    film: str = ""
    """A small copy of the video, as a data URI of an mp4; empty if it cannot be made."""


class TooMuch(UnreadableVideo):
    """Raised for a video that exceeds the page's limits; its reason names the option that allows more."""


@dataclass(frozen=True)
class LimitedReader(ChunkReader):
    """Refuses videos over the limits, and leaves the others to another reader. Size and length are read before any
    frame is decoded, in the reader process, which may crash."""

    limits: Limits = field(default_factory=Limits)
    reader: ChunkReader | None = None
    """Reader of what is within the limits; None for one of frames."""

    def events(self, job: ClipView) -> Iterator[Event]:
        reason = _too_much(job.clip, self.limits)
        if reason:
            yield TooMuch(job.clip.id, job.clip.video, reason)
            return
        limit_memory(self.limits)  # a header may state less than there is
        try:
            yield from super().events(job) if self.reader is None else self.reader.events(job)
        except MemoryError:
            reason = "it takes more memory than this page allows for one video (--max-megapixels)"
            yield TooMuch(job.clip.id, job.clip.video, reason)


def _too_much(clip: Clip, limits: Limits) -> str:
    """Returns why a video is refused; empty if it is not, or if it cannot be opened, which reading reports."""
    from av.error import FFmpegError

    try:
        size = video_size(clip.video)
        if size.pixels > limits.megapixels * MEGA:
            return (
                f"its frames have {size.width} x {size.height} pixels, but this page accepts {limits.megapixels:g} "
                "megapixels (--max-megapixels)"
            )
        if size.pixels * size.frames > limits.gigapixels * GIGA:
            return (
                f"it has {size.frames:,} frames of {size.width} x {size.height} pixels, but this page accepts "
                f"{limits.gigapixels:g} gigapixels in all (--max-gigapixels)"
            )
        packets = packet_index(clip.video)
    except (FFmpegError, ValueError, OSError):
        return ""
    seconds = timeline(packets.num_frames, packets.fps or SUPPOSED_FPS, packets.seconds).length
    if seconds > limits.seconds:
        return f"it is {seconds:.1f} s long, but this page accepts {limits.seconds:g} s (--max-seconds)"
    return ""


def _limited(limits: Limits, reader: ChunkReader) -> LimitedReader:
    return LimitedReader(reader.video, limits=limits, reader=reader)


class Answerer:
    """A trained run or a model folder, loaded once, with limits on its input."""

    def __init__(
        self, source: Run | WholeModel, limits: Limits, reliability: bool = False, language: str | None = None
    ):
        """Loads the run; `language` is that of the sentences, if it knows several. Raises InputError if it is not
        trained, and like Translator."""
        self.translator = Translator(source, reliability, language)
        self.translator.warn_of_boxes()
        self.nbest = self.translator.generation.num_beams
        self._limits = limits

    def of_upload(self, path: Path) -> Answer:
        """Translates an upload. Raises UnreadableVideo, TooMuch for one over the limits, and UnstorableFeatures."""
        return self._answer(Clip(path.name, "test", path, None, None, ""), self._limits)

    def of_clip(self, clip: Clip) -> Answer:
        """Translates a clip of the run's corpus, however long. Raises UnreadableVideo and UnstorableFeatures."""
        return self._answer(clip)

    def _answer(self, clip: Clip, limits: Limits | None = None) -> Answer:
        frames = ChunkReader(self.translator.reader.video)
        limited = None if limits is None else partial(_limited, limits)
        begun = time.monotonic()
        encoded = self.translator.encoded(clip, limited)
        translation = self.translator.of_features(encoded, self.nbest, begun)
        llm = self.translator.llm
        attention = word_attention(llm.model, llm.tokenizer, encoded.streams, translation.text)
        fps = encoded.end.fps
        length = translation.frames / fps if fps else None
        return Answer(
            translation,
            attention,
            self._frames(clip, frames if limited is None else limited(frames)),
            length,
            attention_name(not llm.model.seq2seq.config.is_encoder_decoder),
            small_film(clip, limits),
        )

    def _frames(self, clip: Clip, reader: ChunkReader) -> np.ndarray:
        """Reads the frames again, since the encoder's input is not kept. Raises UnreadableVideo."""
        return seen_frames(read_ahead(plain([clip]), reader, workers=1))
