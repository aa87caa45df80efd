"""Settings of the input: the corpus, its videos, and how sentences are scored."""

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from slt_cache.config.section import Fraction, PathName, Section, _switch, _without_off

Jitter = Annotated[float, Field(ge=0.0, lt=1.0)]
"""Largest relative change of a factor, drawn from [1 - jitter, 1 + jitter] once per clip; 0 turns it off."""


def _one_in_a_whole_number(rate: float) -> float:
    if not 0 < rate <= 1 or abs(1 / rate - round(1 / rate)) > 1e-9:
        raise ValueError("must be 1 / n for a whole number n, such as 1, 0.5, 0.25 or 0.125")
    return rate


class CorpusConfig(Section):
    name: str = "avatar"
    """Corpus: avatar (the drawn demo corpus), a corpus by name (read from its official files), subtitles (your own
    videos with subtitle files), tsv (your own manifest.tsv), or merge (several prepared corpora)."""
    root: PathName | None = None
    """Folder of the corpus. tsv: the folder of manifest.tsv. avatar: where the clips are drawn; null for `corpus` in
    the run folder."""
    clips_from: Literal["auto", "videos", "clips"] = "auto"
    """how2sign, openasl: cut clips from the full videos at the annotated times, or use the ready-made clips, which for
    How2Sign are known to be misaligned. auto: the full video if it exists, else the clip."""
    boxes: bool = True
    """openasl: read the part of a full video that shows the signer, as in bbox-v1.0.json; ready-made clips are cropped
    already."""
    find_signer: bool = False
    """Find the signer in each clip without a box, by MediaPipe (encoder.python), and read only this part of its frames,
    which becomes its `box` in the manifest."""
    alignment: Literal["auto", "signing", "audio"] = "auto"
    """bobsl: subtitles aligned to the signing or to the audio. auto: to the signing if a programme has them."""
    sign_language: str | None = None
    """youtube-sl-25: ISO 639-3 code of one sign language, such as gsg; null for all videos."""
    captions: str | None = None
    """youtube-asl, youtube-sl-25, subtitles: language of the captions, such as de for NAME.de.vtt or NAME.de-AT.vtt;
    null for the language of the corpus, or for captions in only one language."""
    dev_share: Annotated[float, Field(ge=0.0, le=0.4)] = 0.05
    """Share of the videos that become dev, for corpora without splits of their own. No video is in two splits."""
    test_share: Annotated[float, Field(ge=0.0, le=0.4)] = 0.05
    """Share of the videos that become test, likewise."""
    tier: str | None = None
    """subtitles, youtube-asl, youtube-sl-25: tier of ELAN files with the sentences, by its name or a pattern such as
    `Text*`; null for the only tier that has annotations."""
    shift: float = 0.0
    """Corpora with caption files: seconds that are added to all times, to correct captions that are early or late."""
    join_up_to: Annotated[float, Field(ge=0.0)] = 20.0
    """subtitles, youtube-asl, youtube-sl-25: most seconds of a sentence that is joined of several captions; 0: each
    caption is a clip. A caption is joined with the next one unless it ends with `.`, `!` or `?`."""
    max_gap: Annotated[float, Field(ge=0.0)] = 1.0
    """Likewise: most seconds between two captions of one sentence."""
    drop_sounds: bool = True
    """Likewise: leave out descriptions of sounds, `[...]`, lines in `(...)`, and text between `♪`."""
    drop_speakers: bool = True
    """Likewise: leave out what marks speakers: `>>`, a dash, and a name in capitals before a colon."""
    min_seconds: Annotated[float, Field(ge=0.0)] = 0.2
    """Likewise: shorter clips are left out."""
    max_seconds: Annotated[float, Field(gt=0.0)] = 60.0
    """Likewise: longer clips are left out."""
    fraction: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """Share of the train clips that trainings use, drawn with `seed`: those of 0.25 are among those of 0.5. Dev, test,
    the feature cache and the text of the LLM (vocabulary, pre-training) stay whole."""
    clips: Annotated[int, Field(ge=20)] = 1500
    """avatar: number of clips over all splits."""
    language: Literal["de", "en", "zh"] = "de"
    """avatar: language of the sentences."""
    difficulty: Annotated[int, Field(ge=1, le=4)] = 1
    """avatar: 1 few short sentences; 2 more signs and longer sentences; 3 wording that depends on neighbouring signs; 4
    rich language, with several hundred words, a long tail, agreement and word order."""
    seed: NonNegativeInt = 0
    """avatar: random seed; the same seed gives the same sentences and frames."""
    merged: dict[str, PathName] = Field(default_factory=dict)
    """merge: name -> manifest of each corpus, in order, which `prepare merge` sets."""
    languages: tuple[str, ...] = ()
    """Languages of the sentences, such as [de, en], which `prepare` sets if the manifest has a column `language`."""
    presets: dict[str, str] = Field(default_factory=dict)
    """merge: name -> scoring preset of corpora that have one of their own, which `prepare merge` sets."""

    def of_manifest(self) -> dict[str, Any]:
        """Returns the settings that determine the manifest, as prepare.json holds them."""
        return self.model_dump(mode="json", exclude={"fraction"})


class VideoConfig(Section):
    fps: Annotated[float, Field(ge=0.0)] = 0.0
    """Frame rate to which clips are resampled before `keep_rate` applies; 0 keeps the video's own rate. Not for folders
    of frames, which have no rate."""
    keep_rate: Annotated[float, AfterValidator(_one_in_a_whole_number)] = 0.25
    """Fraction of the frames that are kept: 1, 0.5, 0.25, 0.125, ... (paper, table 6)."""
    resize: PositiveInt = 256
    """Pixels; side of the square to which frames are scaled before the crop."""
    size: PositiveInt = 224
    """Pixels; side of the square crop that the encoder sees (paper, 4.1)."""
    fit: Literal["stretch", "crop"] = "stretch"
    """How a non-square frame is made square: stretch the whole frame, or crop its centre."""
    blank: bool = False
    """Baseline experiment: every frame is black, so the scores show what text alone achieves."""
    decoder: Literal["auto", "decord", "pyav", "torchcodec"] = "auto"
    """Library that decodes video files; the frames are the same. auto: decord, and PyAV for files in which decord would
    not find the right frames, or for all where it is not installed. decord, torchcodec: this one, and PyAV for such
    files. pyav: PyAV for all. torchcodec is not installed by default: pip install torchcodec, and FFmpeg 4 to 8."""
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    """Mean of each colour channel, 0..1 (ImageNet)."""
    std: tuple[PositiveFloat, PositiveFloat, PositiveFloat] = (0.229, 0.224, 0.225)
    """Standard deviation of each colour channel, 0..1 (ImageNet)."""
    frame_cache: Annotated[bool | PathName, BeforeValidator(_switch)] = False
    """Cache decoded frames on disk (resize x resize x 3 bytes each) and read them from the second epoch on when
    training from pixels: true for `frames` in the run folder, or a folder. Results do not change."""

    @property
    def keep_every(self) -> int:
        """Interval of the kept frames: one in this many is kept."""
        return round(1 / self.keep_rate)

    def of_size(self, size: int) -> "VideoConfig":
        """Returns the settings with crops of another size, in pixels, which show as much of the frame."""
        return self.model_copy(update={"size": size, "resize": round(size * self.resize / self.size)})

    def recorded(self) -> dict[str, Any]:
        """Returns the settings as training records hold them. Fields that were added later are omitted at their
        default, so older records still compare equal; so are the frame cache and the decoder, which change no
        result."""
        recorded = _without_off(self, {"fps"})
        return {name: value for name, value in recorded.items() if name not in ("frame_cache", "decoder")}

    @model_validator(mode="after")
    def _crop_fits(self) -> "VideoConfig":
        if self.size > self.resize:
            raise ValueError(f"size {self.size} exceeds resize {self.resize}; the crop must fit into the resized frame")
        return self


class AugmentationConfig(Section):
    """Augmentation in stage 1, the same for all frames of a clip. Off in validation and in the plain view of a feature
    cache."""

    phase: bool = True
    """Temporal jitter: kept frames start at a random offset, smaller than the interval between them, instead of at
    frame 0."""
    crop: bool = True
    """Random crop instead of the centre crop."""
    shift: Annotated[float, Field(ge=0.0, le=0.5)] = 0.0
    """Largest horizontal shift, as a fraction of the width; the edge column is repeated."""
    flip: Fraction = 0.0
    """Probability of a horizontal flip; 0 because handedness carries meaning."""
    brightness: Jitter = 0.0
    """Brightness jitter: pixel values are multiplied by a factor in [1 - brightness, 1 + brightness], one per clip."""
    rotation: Annotated[float, Field(ge=0.0, le=45.0)] = 0.0
    """Degrees; largest rotation in either direction, edges are repeated. Keep it small: orientation carries meaning."""
    contrast: Jitter = 0.0
    """Contrast jitter: distances from a frame's mean grey are multiplied by a factor in [1 - contrast, 1 + contrast],
    one per clip."""
    saturation: Jitter = 0.0
    """Saturation jitter: distances of colours from grey are multiplied by a factor in [1 - saturation, 1 + saturation],
    one per clip."""
    hue: Annotated[float, Field(ge=0.0, le=0.5)] = 0.0
    """Largest hue shift in either direction, as a fraction of the colour circle. Slow, like rotation."""

    def recorded(self) -> dict[str, Any]:
        """Returns the settings as training records and feature caches hold them. Fields that were added later are
        omitted at their default, so older records still compare equal."""
        return _without_off(self, {"rotation", "contrast", "saturation", "hue"})


class ScoringConfig(Section):
    preset: str | None = None
    """Tokenization of hypotheses and references: plain, phoenix14t, csl-daily, how2sign or mixed; null: the preset
    named after the corpus if there is one, else csl-daily for Chinese, plain for other languages, and mixed for
    both."""
    final_dot: Literal["keep", "add", "strip"] = "keep"
    """Sentence-final dots of hypotheses and references. keep: as they are; add: every sentence ends in one dot (` .`,
    Chinese `。`), unless it ends in ! or ?; strip: final dots are removed."""
    metrics: tuple[str, ...] = ()
    """Additional metrics, such as ter. BLEU-1 to BLEU-4, chrF, ROUGE-L F1 and ROUGE-L F1.2 are always computed."""
    models: dict[str, PathName] = Field(default_factory=dict)
    """Models of metrics that need one (bertscore, embedding, bleurt, comet), by metric: a folder or hub name, such as
    scoring.models.embedding=FOLDER. A metric without one has a default of the hub."""
    python: PathName | None = None
    """Python interpreter with the packages of the metrics bertscore, bleurt and comet; null: this program's own."""
    protocol: str | None = None
    """Scoring protocol: paper, sltbaselines, gfslt-vlp or wmt-slt (metrics/README.md). It sets the other settings of
    scoring and search that it names, and each signature states it; null: none."""
    references: Literal["corpus", "decoded"] = "corpus"
    """References. corpus: the sentences of the corpus; decoded: as the LLM's tokenizer writes them after reading them,
    without what it does not know, as in code that decodes the labels of its batches."""
    lowercase: bool = False
    """Lowercase hypotheses and references before scoring."""
