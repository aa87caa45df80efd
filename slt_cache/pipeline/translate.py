"""Translation of any video file or folder of frames into a sentence."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import overload

from slt_cache.advice import command
from slt_cache.checkpoints.translator import load_llm
from slt_cache.config import ComputeConfig, GenerationConfig
from slt_cache.corpora.base import Box, Clip
from slt_cache.decoding.encode import EncodedClip, Unusable, encode, joined, packed, usable
from slt_cache.decoding.parts import Cuts, Job, cut
from slt_cache.decoding.search import Hypothesis, decode, truncation_notice
from slt_cache.device import pick_device
from slt_cache.errors import InputError
from slt_cache.features.spec import by_name
from slt_cache.metrics.grounding import SentenceEvidence
from slt_cache.pipeline.encoder import encoders_of, frozen_encoder, reader_of
from slt_cache.pipeline.model_folder import WholeModel, read_model_folder
from slt_cache.pipeline.reliability import evidence_reader
from slt_cache.progress import log, progress_counter
from slt_cache.runs.run import Run, open_run
from slt_cache.video.chunks import ChunkReader, plain
from slt_cache.video.pauses import PAUSE
from slt_cache.video.reader_pool import read_ahead


@dataclass(frozen=True)
class Translation:
    """Translation of one video, or one window of it, best first."""

    video: Path
    texts: tuple[str, ...]
    scores: tuple[float, ...]
    """Log-probabilities per token, length-penalized."""
    steps_left_out: int
    """Steps at the end of the video that were not read for lack of positions in the LLM."""
    seconds: float
    """Seconds from opening the video to the sentence; in a batch, its share of the batch's time by frames."""
    frames: int
    """Frames of the video, T (resampled, with `video.fps`), before the keep rate."""
    start: float | None = None
    """Start of the window in seconds; None for a whole video."""
    end: float | None = None
    """End of the window in seconds; the end of the video for the last one. None for a whole video."""
    lag: float | None = None
    """Seconds from the arrival of the last frame of a live video's window to its sentence; None for other videos."""
    evidence: SentenceEvidence | None = None
    """How much of the best sentence the video decided; None unless asked for."""

    @property
    def text(self) -> str:
        return self.texts[0]


@dataclass(frozen=True)
class Untranslated:
    """Video, or window of it, without a sentence."""

    video: Path
    reason: str
    start: float | None = None
    end: float | None = None

    @property
    def text(self) -> None:
        """None, since there is no sentence."""


class Translator:
    """Translator of videos, loaded once: `Translator.from_pretrained("model").translate("clip.mp4").text`."""

    def __init__(self, source: Run | WholeModel, reliability: bool = False, language: str | None = None):
        """Loads both stages of a run, or takes those of a model folder. With `reliability` each translation has its
        evidence. `language` is that of the sentences, such as de, which a model of several languages needs. Raises
        InputError if the run is not trained, if its stages do not match, or for a language that the model does not
        write; and with `reliability`, if there is no mean of the training's features."""
        model = source if isinstance(source, WholeModel) else _stages_of(source)
        self.generation: GenerationConfig = model.config.generation
        compute: ComputeConfig = model.config.compute
        self.device = pick_device(compute.device)
        self.llm = model.llm
        self.language = self.llm.model.require_language(language)
        self.llm.model.to(self.device)
        frames, encoders, specs = model.config.features.batch_frames, model.encoders.values(), by_name(self.llm.specs)
        pairs = zip(encoders, specs.values(), strict=True)
        self.encoder, *self._others = (frozen_encoder(one, spec, self.device, frames) for one, spec in pairs)
        self.readers = [reader_of(one, model.config.video.decoder) for one in encoders]
        self.reader, *_ = self.readers
        self._encoders, self.python = tuple(encoders), model.config.encoder.python
        self._is_boxed = any(spec.boxes for spec in specs.values())
        self.workers = compute.readers
        self._evidence = evidence_reader(source, model) if reliability else None

    @classmethod
    def from_run(
        cls, folder: str | Path, device: str | None = None, reliability: bool = False, language: str | None = None
    ) -> "Translator":
        """Loads a run folder; `device` (auto, cpu, cuda, cuda:1, mps) replaces the run's own, and `language` is that of
        the sentences, if the run knows several."""
        return cls(open_run(Path(folder), None, device=device), reliability, language)

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path,
        device: str | None = None,
        base: str | Path | None = None,
        settings: Sequence[str] = (),
        reliability: bool = False,
        language: str | None = None,
    ) -> "Translator":
        """Loads a folder that `export-model` wrote, by its path or hub name, without the run; `device` is auto, cpu,
        cuda, cuda:1 or mps. `base` is the LLM that LoRA adapts, if the folder names it and does not hold it.
        `settings` are those of `translate --set`, such as encoder.python=pose/bin/python, and `language` that of the
        sentences, if the model knows several. Raises InputError if the folder is damaged, or of another kind, or if
        what it does not hold is missing."""
        return cls(read_model_folder(name, settings, device, base), reliability, language)

    def __call__(self, video: str | Path, nbest: int = 1) -> Translation:
        """Translates one video. Raises InputError if it cannot be read, or for more sentences than beams."""
        [found] = self._translations([video], nbest, Cuts(), quiet=True)
        if isinstance(found, Untranslated):
            raise InputError(f"{found.video}: {found.reason}. Give a video file or a folder of png or jpg frames.")
        return found

    @overload
    def translate(self, videos: str | Path, nbest: int = 1) -> Translation: ...  # type: ignore[overload-overlap]
    @overload
    def translate(
        self,
        videos: str | Path | Iterable[str | Path],
        nbest: int = 1,
        window: float | None = None,
        quiet: bool = True,
        segment: str | None = None,
        pause: float = PAUSE,
        box: Box | None = None,
        find_signer: bool = False,
    ) -> Iterator[Translation | Untranslated]: ...
    def translate(
        self,
        videos: str | Path | Iterable[str | Path],
        nbest: int = 1,
        window: float | None = None,
        quiet: bool = True,
        segment: str | None = None,
        pause: float = PAUSE,
        box: Box | None = None,
        find_signer: bool = False,
    ) -> Translation | Iterator[Translation | Untranslated]:
        """Translates one video, like a call. Of several it yields each video's sentence, or why there is none, in
        order; with `window`, one per window of this many seconds. With `segment`, videos are cut at the pauses of the
        signer that last at least `pause` seconds, found by `motion` of the frames, by `pose`, or by what there is
        (`auto`; see cli/README.md); `window` then is the longest segment. Of the frames the `box` is read, or with
        `find_signer` that of the signer. Videos are read ahead and decoded in batches; unless `quiet`, a bar on stderr
        shows progress.

        Raises InputError for more sentences than beams, and for invalid windows, segments and pauses."""
        cuts = Cuts(window, segment, pause, box, find_signer)
        if isinstance(videos, str | Path) and cuts == Cuts():
            return self(videos, nbest)
        return self._translations([videos] if isinstance(videos, str | Path) else videos, nbest, cuts, quiet)

    def _translations(
        self, videos: Iterable[str | Path], nbest: int, cuts: Cuts, quiet: bool
    ) -> Iterator[Translation | Untranslated]:
        self.check(nbest)
        if not cuts.find_signer and cuts.box is None:
            self.warn_of_boxes()
        clips = [Clip(path.name, "test", path, None, None, "", box=cuts.box) for path in map(Path, videos)]
        jobs = cut(clips, cuts, self._encoders, self.python, self.workers, quiet)
        read, done, unit = self._read(jobs), 0, cuts.unit
        while done < len(jobs):
            begun = time.monotonic()
            # The bar ends with each batch, so that the caller does not print sentences into it.
            with progress_counter("translating", len(jobs), done, unit, quiet or len(jobs) == 1) as show:
                batch: list[_Read] = []
                for one in islice(read, self.generation.batch_size):
                    batch.append(one)
                    show(len(batch))
                found = self._decoded(batch, nbest, begun)
            done += len(batch)
            yield from found

    def warn_of_boxes(self) -> None:
        """Warns, once, if the model was trained on frames that were cropped to the signer."""
        if self._is_boxed:
            log(
                "warning: the model was trained on frames that were cropped to the signer's box; these are read whole. "
                "Give the signer's box (--box x0,y0,x1,y1, shares of width and height), or find it (--find-signer)."
            )
        self._is_boxed = False

    def encoded(self, clip: Clip, limited: Callable[[ChunkReader], ChunkReader] | None = None) -> EncodedClip:
        """Returns the features of one clip, as `translate` computes them; `limited` returns another reader in place of
        that of each stream. Raises UnreadableVideo or UnstorableFeatures."""
        readers = self.readers if limited is None else [limited(one) for one in self.readers]
        [found] = usable(self._encode([clip], readers, min(self.workers, 1)))
        return found

    def _encode(
        self, clips: Sequence[Clip], readers: Sequence[ChunkReader], workers: int
    ) -> Iterator[EncodedClip | Unusable]:
        """Yields the features of each clip, those of several streams joined, or why there are none."""
        pairs = zip((self.encoder, *self._others), readers, strict=True)
        return joined([encode(encoder, read_ahead(plain(clips), one, workers)) for encoder, one in pairs])

    def of_features(self, encoded: EncodedClip, nbest: int, begun: float) -> Translation:
        """Translates encoded features; `begun` is when reading them started (time.monotonic)."""
        self.check(nbest)
        clip = encoded.end.clip
        [found] = self._decoded([(clip, encoded)], nbest, begun)
        assert isinstance(found, Translation)
        return found

    def check(self, nbest: int) -> None:
        """Raises InputError for more sentences than beams."""
        if nbest > self.generation.num_beams:
            raise InputError(
                f"nbest {nbest}: there are only {self.generation.num_beams} beams. Increase generation.num_beams."
            )

    def _read(self, jobs: Sequence[Job]) -> Iterator["_Read"]:
        """Yields each job's features, or why there are none, in order."""
        clips = [clip for clip, failure in jobs if failure is None]
        encoded = self._encode(clips, self.readers, min(self.workers, len(clips)))
        for clip, failure in jobs:
            yield clip, failure or next(encoded)

    def _decoded(self, batch: Sequence["_Read"], nbest: int, begun: float) -> list[Translation | Untranslated]:
        good = [found for _, found in batch if isinstance(found, EncodedClip)]
        batches = packed(good, self.generation.batch_size)
        hypotheses = decode(self.llm.model, batches, self.llm.tokenizer, self.generation, nbest)
        notice = truncation_notice(hypotheses, self.llm.model.positions)
        if notice is not None:
            log(f"{notice}. Short windows are read completely: --window SECONDS.")
        a_frame = (time.monotonic() - begun) / max(1, sum(clip.end.num_frames for clip in good))
        best = iter(zip(hypotheses, self._evidence_of(good, hypotheses), strict=True))
        return [
            _translation(clip, *next(best), found.end.num_frames, a_frame)
            if isinstance(found, EncodedClip)
            else Untranslated(clip.video, found.reason, clip.start, clip.end)
            for clip, found in batch
        ]

    def _evidence_of(
        self, clips: Sequence[EncodedClip], hypotheses: Sequence[Hypothesis]
    ) -> Sequence[SentenceEvidence | None]:
        if self._evidence is None:
            return [None] * len(clips)
        return self._evidence.evidence([one.streams for one in clips], [one.texts[0] for one in hypotheses])


_Read = tuple[Clip, EncodedClip | Unusable]


def _translation(
    clip: Clip, best: Hypothesis, evidence: SentenceEvidence | None, frames: int, seconds_a_frame: float
) -> Translation:
    span, seconds = (clip.start, clip.end), seconds_a_frame * frames
    found = (best.texts, best.scores, best.steps_left_out, seconds, frames)
    return Translation(clip.video, *found, *span, evidence=evidence)


def _stages_of(run: Run) -> WholeModel:
    """Loads both stages of a run. Raises InputError if it is not trained, or its stages do not match."""
    if not run.folder.is_dir():
        raise InputError(
            f"{run.folder}: no such run. `{command('demo')}` makes runs/avatar from drawn videos; your own "
            f"start with `{command('prepare tsv', root='DIR')}`. Give a trained run with --run."
        )
    llm = load_llm(run.llm / "best")
    return WholeModel(llm, encoders_of(run, llm.specs), run.config, run.folder)
