"""Settings of what goes in: the corpus, its videos, and what is scored of it."""

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
"""Largest change of a factor: it is drawn from 1 - jitter to 1 + jitter, once a clip; 0 is off."""


def _one_in_a_whole_number(rate: float) -> float:
    if not 0 < rate <= 1 or abs(1 / rate - round(1 / rate)) > 1e-9:
        raise ValueError("one frame in a whole number is kept, such as 1, 0.5, 0.25 or 0.125")
    return rate


class CorpusConfig(Section):
    name: str = "avatar"
    """The drawn demo corpus (avatar), the official files of a real one, or your own manifest.tsv (tsv)."""
    root: PathName | None = None
    """Folder of the corpus; tsv: the one that holds manifest.tsv; avatar: where the clips are drawn, null for `corpus`
    in the run folder."""
    clips_from: Literal["auto", "videos", "clips"] = "auto"
    """how2sign: the full videos cut at the realigned times, or the ready-cut clips, which are reported to be
    misaligned; auto: the full video if it exists, else the clip."""
    clips: Annotated[int, Field(ge=20)] = 1500
    """avatar: clips over all splits."""
    language: Literal["de", "en", "zh"] = "de"
    """avatar: language of the sentences."""
    difficulty: Annotated[int, Field(ge=1, le=4)] = 1
    """avatar: 1 few short sentences, 2 more signs and longer sentences, 3 wording that depends on neighbouring signs, 4
    rich language: several hundred words, a long tail, agreement, word order."""
    seed: NonNegativeInt = 0
    """avatar: the same seed gives the same sentences and frames."""


class VideoConfig(Section):
    fps: Annotated[float, Field(ge=0.0)] = 0.0
    """Frames a second to which a clip is resampled before the keep rate; 0: the video's own rate. Not for folders of
    frames, which have no rate."""
    keep_rate: Annotated[float, AfterValidator(_one_in_a_whole_number)] = 0.25
    """Share of the frames that is kept: 1, 0.5, 0.25, 0.125 ... (paper, table 6)."""
    resize: PositiveInt = 256
    """Pixels; frames are scaled to this square before the crop."""
    size: PositiveInt = 224
    """Pixels; side of the square crop that the encoder sees (paper, 4.1)."""
    fit: Literal["stretch", "crop"] = "stretch"
    """How a frame that is not square becomes one: stretched whole, or its middle cut out first."""
    blank: bool = False
    """Control experiment: every frame is black, so that the scores show what the text alone gives."""
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    """Of each colour channel, 0..1 (ImageNet)."""
    std: tuple[PositiveFloat, PositiveFloat, PositiveFloat] = (0.229, 0.224, 0.225)
    """Of each colour channel, 0..1 (ImageNet)."""
    frame_cache: Annotated[bool | PathName, BeforeValidator(_switch)] = False
    """Trainings from pixels keep the decoded frames on disk, resize x resize x 3 bytes each, and read them from there
    from the second epoch on: true for `frames` in the run folder, or another folder. The numbers stay the same."""

    @property
    def keep_every(self) -> int:
        """Frames; one in this many is kept."""
        return round(1 / self.keep_rate)

    def recorded(self) -> dict[str, Any]:
        """As training records hold it. What they did not always have is left out where it is off: those that were
        written before are still of the same settings. Where the frames are read from changes none of them."""
        recorded = _without_off(self, {"fps"})
        del recorded["frame_cache"]
        return recorded

    @model_validator(mode="after")
    def _crop_fits(self) -> "VideoConfig":
        if self.size > self.resize:
            raise ValueError(f"size {self.size} is larger than resize {self.resize}; a crop cannot be")
        return self


class AugmentationConfig(Section):
    """What stage 1 does to the frames of a clip, the same to all of them. Validation and the plain view of a cache have
    none of it."""

    phase: bool = True
    """Kept frames begin at a random one of the first frames instead of at frame 0."""
    crop: bool = True
    """A random crop instead of the middle one."""
    shift: Annotated[float, Field(ge=0.0, le=0.5)] = 0.0
    """Largest horizontal shift, as a share of the width; the edge column is repeated."""
    flip: Fraction = 0.0
    """Probability of a left-right flip; 0 because handedness carries meaning."""
    brightness: Jitter = 0.0
    """Frames are multiplied by one factor a clip, from 1 - brightness to 1 + brightness."""
    rotation: Annotated[float, Field(ge=0.0, le=45.0)] = 0.0
    """Degrees; largest rotation to either side, edges are repeated. Small ones only: orientation carries meaning."""
    contrast: Jitter = 0.0
    """Distances from a frame's mean grey are multiplied by one factor a clip."""
    saturation: Jitter = 0.0
    """Distances of the colours from grey are multiplied by one factor a clip."""
    hue: Annotated[float, Field(ge=0.0, le=0.5)] = 0.0
    """Largest turn of all colours to either side, as a share of the colour circle. Slow, as rotation is."""

    def recorded(self) -> dict[str, Any]:
        """As training records and feature caches hold it. What they did not always have is left out where it is off:
        those that were written before are still of the same settings."""
        return _without_off(self, {"rotation", "contrast", "saturation", "hue"})


class ScoringConfig(Section):
    preset: str | None = None
    """How hypotheses and references are tokenized: plain, phoenix14t, csl-daily or how2sign; null: the preset of the
    corpus' name if there is one, else csl-daily for Chinese and plain for other languages."""
    final_dot: Literal["keep", "add", "strip"] = "keep"
    """Of hypotheses and references alike. keep: the raw text; add: every sentence ends in one dot (` .`, Chinese `。`),
    except those that end in ! or ?; strip: dots at the end are removed."""
    metrics: tuple[str, ...] = ()
    """Metrics besides BLEU-1 to BLEU-4, chrF and the two ROUGE-L, which are always computed: ter."""
    lowercase: bool = False
    """Hypotheses and references are lowercased before scoring."""
