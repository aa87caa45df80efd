"""One video through a trained run, as the page shows it: its sentences, where the decoder looked for each word, and
small pictures of the frames that it looked at. Knows no web page."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from slt_cache.corpora.clips import Clip
from slt_cache.decoding.attention import WordAttention, word_attention
from slt_cache.pipeline.report.seen import seen_frames
from slt_cache.pipeline.run import Run
from slt_cache.pipeline.translate import Translation, Translator
from slt_cache.video.frames import UnreadableVideo
from slt_cache.video.packets import packet_index
from slt_cache.video.pieces import ClipView, Event, PieceReader, plain
from slt_cache.video.readers import read_ahead
from slt_cache.video.timeline import timeline

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


class TooLong(UnreadableVideo):
    """A video that is longer than the page takes."""


@dataclass(frozen=True)
class LimitedReader(PieceReader):
    """Reads no video that is longer than `max_seconds`. The file is asked for its length where it is read, in a
    process that may crash."""

    max_seconds: float = float("inf")

    def events(self, job: ClipView) -> Iterator[Event]:
        seconds = self._seconds(job.clip)
        if seconds > self.max_seconds:
            reason = f"it is {seconds:.1f} s long, and this page takes {self.max_seconds:g} s"
            yield TooLong(job.clip.id, job.clip.video, reason)
            return
        yield from super().events(job)

    def _seconds(self, clip: Clip) -> float:
        """0 for what cannot be read, which is told when it is."""
        from av.error import FFmpegError

        try:
            packets = packet_index(clip.video)
        except (FFmpegError, ValueError, OSError):
            return 0.0
        return timeline(packets.num_frames, packets.fps or SUPPOSED_FPS, packets.seconds).length


class Answerer:
    """A trained run, loaded once, and the limits of what is given to it."""

    def __init__(self, run: Run, max_seconds: float):
        """Raises InputError where the run is not trained."""
        self.translator = Translator(run)
        self.nbest = self.translator.generation.num_beams
        self._limited = LimitedReader(self.translator.reader.video, max_seconds=max_seconds)

    def of_upload(self, path: Path) -> Answer:
        """Raises UnreadableVideo, for videos that are too long too, and UnstorableFeatures."""
        return self._answer(Clip(path.name, "test", path, None, None, ""), self._limited)

    def of_clip(self, clip: Clip) -> Answer:
        """Of the run's own corpus, however long. Raises UnreadableVideo and UnstorableFeatures."""
        return self._answer(clip, self.translator.reader)

    def _answer(self, clip: Clip, reader: PieceReader) -> Answer:
        begun = time.monotonic()
        encoded = self.translator.encoded(clip, reader)
        translation = self.translator.of_features(encoded, self.nbest, begun)
        llm = self.translator.llm
        attention = word_attention(llm.model, llm.tokenizer, encoded.features, translation.text)
        fps = encoded.end.fps
        length = translation.frames / fps if fps else None
        return Answer(translation, attention, self._frames(clip, reader), length)

    def _frames(self, clip: Clip, reader: PieceReader) -> np.ndarray:
        """Read once more, as what the encoder is given is not kept. Raises UnreadableVideo."""
        return seen_frames(read_ahead(plain([clip]), reader, workers=1))
