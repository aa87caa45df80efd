"""Any video file or folder of frames in, its sentence out."""

import time
from dataclasses import dataclass
from pathlib import Path

from slt_cache.checkpoints.llm import load_llm
from slt_cache.config import ComputeConfig, GenerationConfig
from slt_cache.corpora.clips import Clip
from slt_cache.decoding.decode import cut_notice, decode
from slt_cache.decoding.encode import encode, packed, usable
from slt_cache.device import pick_device
from slt_cache.errors import InputError
from slt_cache.pipeline.encoder import encoder_of, frozen_encoder
from slt_cache.pipeline.run import Run, open_run
from slt_cache.pipeline.terminal import say
from slt_cache.video.pieces import ClipView, PieceReader
from slt_cache.video.readers import read_ahead


@dataclass(frozen=True)
class Translation:
    """What one video says, best first."""

    video: Path
    texts: tuple[str, ...]
    scores: tuple[float, ...]
    """Log-probability per token, length-penalized."""
    cut: int
    """Steps at the end of the video that were not read, because the LLM has no positions for them."""
    seconds: float
    """From opening the video to the sentence."""

    @property
    def text(self) -> str:
        return self.texts[0]


class Translator:
    """Both stages of a run, loaded once: `Translator.from_run("runs/avatar")("clip.mp4").text`."""

    def __init__(self, run: Run):
        """Raises InputError where the run is not trained, or its stages do not belong together."""
        self.generation: GenerationConfig = run.config.generation
        compute: ComputeConfig = run.config.compute
        self.device = pick_device(compute.device)
        self.llm = load_llm(run.llm / "best")
        visual = encoder_of(run, self.llm.spec)
        self.llm.model.to(self.device)
        self.encoder = frozen_encoder(visual, self.llm.spec, self.device, run.config.features.batch_frames)
        self.reader = PieceReader(visual.video)
        self.workers = min(1, compute.workers)

    @classmethod
    def from_run(cls, folder: str | Path) -> "Translator":
        return cls(open_run(Path(folder), None))

    def __call__(self, video: str | Path, nbest: int = 1) -> Translation:
        """Translates one video. Raises UnreadableVideo (an InputError), or InputError for more sentences than beams."""
        if nbest > self.generation.num_beams:
            raise InputError(f"nbest {nbest}: there are {self.generation.num_beams} beams. Raise generation.num_beams.")
        begun = time.monotonic()
        path = Path(video)
        clip = Clip(path.name, "test", path, None, None, "")
        encoded = usable(encode(self.encoder, read_ahead([ClipView(clip)], self.reader, self.workers)))
        [found] = decode(self.llm.model, packed(encoded, 1), self.llm.tokenizer, self.generation, nbest)
        notice = cut_notice([found], self.llm.model.positions)
        if notice is not None:
            say(notice)
        return Translation(path, found.texts, found.scores, found.cut, time.monotonic() - begun)
