"""Every setting, by section: its name, its default, its unit and where it comes from. Reads no file.

The defaults are the paper's (Chen et al. 2024) where it gives a number; a shipped YAML states what differs."""

from collections.abc import Set
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

SMALL_MBART_POSITIONS = 512
"""Steps; longest input and output of the small MBart that is pre-trained here."""
AVATAR_LANGUAGE_CODES = {"de": "de_DE", "en": "en_XX", "zh": "zh_CN"}
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Probability = Annotated[float, Field(ge=0.0, lt=1.0)]
Jitter = Annotated[float, Field(ge=0.0, lt=1.0)]
"""Largest change of a factor: it is drawn from 1 - jitter to 1 + jitter, once a clip; 0 is off."""


def _one_in_a_whole_number(rate: float) -> float:
    if not 0 < rate <= 1 or abs(1 / rate - round(1 / rate)) > 1e-9:
        raise ValueError("one frame in a whole number is kept, such as 1, 0.5, 0.25 or 0.125")
    return rate


def expanded(path: str) -> str:
    """Returns a path with `~` or `~name` at its beginning replaced by that home folder, if there is one."""
    try:
        return str(Path(path).expanduser()) if path.startswith("~") else path
    except RuntimeError:
        return path


def _switch(value: Any) -> Any:
    """YAML 1.1's other words for true and false, which would else be names of folders."""
    words = {"yes": True, "on": True, "no": False, "off": False}
    return words.get(value.lower(), value) if isinstance(value, str) else value


PathName = Annotated[str, AfterValidator(expanded)]
"""A path, or another name that does not begin with `~`."""


class Section(BaseModel):
    """Strict and frozen: an unknown key is an error, a value never changes after it was read."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _no_switch_for_a_number(cls, values: Any) -> Any:
        """Refuses true and false for numbers, which pydantic would take for 1 and 0, by giving them as words."""
        if not isinstance(values, dict):
            return values
        return {
            name: str(value).lower() if _is_wrong_switch(cls, name, value) else value for name, value in values.items()
        }


def _is_wrong_switch(section: type[Section], name: Any, value: Any) -> bool:
    if not isinstance(value, bool) or name not in section.model_fields:
        return False
    return not {bool, str} & set(_kinds(section.model_fields[name].annotation))


def _kinds(annotation: Any) -> list[Any]:
    """The types that an annotation allows."""
    inner = get_args(annotation)
    return [annotation] if not inner else [kind for one in inner for kind in _kinds(one)]


def _without_off(section: Section, later: Set[str]) -> dict[str, Any]:
    """The settings, but for those that came `later` where they are off (false or 0)."""
    return {name: value for name, value in section.model_dump(mode="json").items() if value or name not in later}


class CorpusConfig(Section):
    name: Literal["avatar", "phoenix14t", "csl-daily", "how2sign", "tsv"] = "avatar"
    """The drawn demo corpus, the official files of a real one, or one's own manifest.tsv."""
    root: PathName | None = None
    """Folder of the corpus; tsv: the one that holds manifest.tsv. avatar: where the clips are drawn; null: `corpus` in
    the run folder."""
    clips_from: Literal["auto", "videos", "clips"] = "auto"
    """how2sign: the full videos cut at the realigned times, or the ready-cut clips, which are reported to be
    misaligned; auto: the full video where it is there, else the clip."""
    clips: Annotated[int, Field(ge=20)] = 1500
    """avatar: clips over all splits."""
    language: Literal["de", "en", "zh"] = "de"
    """avatar: language of the sentences."""
    difficulty: Annotated[int, Field(ge=1, le=4)] = 1
    """avatar: 1 few short sentences, 2 more signs and longer sentences, 3 wording that depends on its neighbours, 4
    rich language: several hundred words, a long tail, agreement, word order."""
    seed: NonNegativeInt = 0
    """avatar: same seed, same sentences and frames."""


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


class EncoderConfig(Section):
    weights: PathName = "imagenet"
    """Of the ResNet-18: imagenet, none, or a path to a state dict (.pth or .safetensors)."""
    dim: PositiveInt = 512
    """C, channels of the sign-wise features (left open by the paper)."""
    kernel: Annotated[int, Field(ge=1)] = 5
    """Steps; width of the temporal convolution (left open by the paper)."""
    checkpointing: bool = False
    """Training computes the activations of the backbone's blocks a second time instead of keeping them: the same
    numbers in less memory and more time."""
    chunk_frames: Annotated[int, Field(ge=8)] | None = None
    """Kept frames that go through the backbone at once in training, and again when their gradients are due; null for
    the whole batch. Memory is that of one chunk. Another training than with null: batch norm goes by a chunk's
    statistics. Fewer than 8 frames would make them noise."""

    def recorded(self) -> dict[str, Any]:
        """As training records hold it, but for what changes no numbers; chunks only where they are set, so that what
        was recorded before is still of the same settings."""
        recorded = _without_off(self, {"chunk_frames"})
        del recorded["checkpointing"]
        return recorded

    @model_validator(mode="after")
    def _odd(self) -> "EncoderConfig":
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel {self.kernel} is even; the length is kept by odd ones only")
        return self


class LightTConfig(Section):
    size: Literal["tiny", "small", "base", "large"] = "base"
    """(layers, heads, hidden, feed-forward): tiny (1,4,256,1024), small (2,4,512,2048), base (3,8,512,2048),
    large (4,8,1024,4096) (paper, table 7)."""
    dropout: Probability = 0.1
    """Of Light-T, in training."""


class OptimizerConfig(Section):
    """What both stages and the pre-training share."""

    epochs: PositiveInt
    """Times that every clip (or sentence) is trained on, unless patience ends the training before."""
    batch_size: PositiveInt
    """Clips in a batch."""
    accumulate: PositiveInt = 1
    """Batches whose gradients are summed before an update, where one of all their clips is too large for the memory;
    every target token counts the same."""
    lr: PositiveFloat
    """Peak learning rate."""
    warmup_steps: NonNegativeInt = 0
    """Updates in which the learning rate rises from 0; then a cosine to 0."""
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.0
    """Of the optimizer."""
    clip_norm: PositiveFloat | None = None
    """Gradients are scaled down to this norm; null for never."""
    label_smoothing: Probability = 0.2
    """(paper, 4.2 and 4.3)"""
    patience: PositiveInt | None = None
    """Evaluations without a better dev BLEU-4 before training stops; null for never."""

    def recorded(self) -> dict[str, Any]:
        """As training records hold it. What they did not always have is left out where it is off: those that were
        written before are still of the same settings."""
        settings = self.model_dump(mode="json")
        if self.accumulate == 1:
            del settings["accumulate"]
        return settings


class VisualTrainingConfig(OptimizerConfig):
    """Stage 1."""

    epochs: PositiveInt = 75
    batch_size: PositiveInt = 8
    lr: PositiveFloat = 1e-2
    optimizer: Literal["sgd", "adamw"] = "sgd"
    """Of stage 1 (paper: SGD)."""
    momentum: Probability = 0.9
    """Of SGD."""
    betas: tuple[Probability, Probability] = (0.9, 0.98)
    """Of AdamW."""
    evaluate_every: PositiveInt = 1
    """Epochs between evaluations on dev."""
    keep_epochs: tuple[PositiveInt, ...] = ()
    """Epochs whose weights are kept beside the best ones, in `visual/epochs/N` (paper, figure 4)."""

    def recorded(self) -> dict[str, Any]:
        """What is kept beside the best weights changes none of them."""
        settings = super().recorded()
        del settings["keep_epochs"]
        return settings


class LoraConfig(Section):
    """LoRA (Hu et al. 2022): the LLM is frozen, and beside some of its linear layers small matrices learn, at the rate
    llm_training.lr; ten to a hundred times the rate of the whole LLM suits them. The LLM-Adapter learns as ever."""

    r: PositiveInt = 8
    """Rank of the matrices."""
    alpha: PositiveInt = 16
    """What they give is multiplied by alpha / r."""
    dropout: Probability = 0.0
    """Of what they read."""
    targets: tuple[str, ...] | None = None
    """Linear layers, by the last part of their names; null: the query and value projections of every attention
    (Hu et al. 2022, 4.2), q_proj and v_proj in MBart, M2M100, NLLB and BART, q and v in T5."""


class LlmConfig(Section):
    name: PathName = "facebook/mbart-large-cc25"
    """Hub name or local folder of an encoder-decoder; or small-mbart or small-mt5, which `slt-cache llm pretrain` makes
    of text."""
    pretrained: bool = True
    """False: the same architecture from scratch (paper, table 10)."""
    trim: bool = True
    """Only the pieces that the train split's sentences use are kept, and special tokens (paper, 4.3); small-mbart has
    no others."""
    keep_characters: bool = False
    """Trimming keeps every single character of the sentences' scripts too, for words that train does not hold."""
    language: str | None = None
    """Code of the sentences' language, which decoding starts with, as the LLM spells it: de_DE, en_XX, zh_CN (MBart),
    deu_Latn (NLLB), de (M2M100); T5 and BART have none. null: the demo corpus' own."""
    lora: LoraConfig | None = None
    """Settings of LoRA, such as `--set llm.lora.r=16`; null: the whole LLM learns."""

    @model_validator(mode="after")
    def _something_to_adapt(self) -> "LlmConfig":
        if self.lora is not None and not self.pretrained:
            raise ValueError("with pretrained false LoRA would leave all weights random; set lora to null")
        return self


class LlmPretrainingConfig(OptimizerConfig):
    """A small MBart (or mT5) from text alone, with MBart's noise (Liu et al. 2020, 2.2)."""

    seed: NonNegativeInt | None = None
    """Of the pre-training alone; null for the run's. Runs with other seeds can so begin with the same LLM."""
    text: PathName | None = None
    """A text file, one sentence a line; null: the corpus' monolingual sentences, else those of the train split."""
    vocabulary: Annotated[int, Field(ge=16)] = 500
    """Pieces at most; fewer where the text does not give so many."""
    layers: PositiveInt = 2
    """Of encoder and decoder each."""
    heads: PositiveInt = 4
    """Of each attention."""
    hidden: PositiveInt = 192
    """Width of the model."""
    feed_forward: PositiveInt = 768
    """Width of the feed-forward layers."""
    dropout: Probability = 0.1
    """Of the small LLM, in pre-training and, unless llm_training.dropout is set, in stage 2."""
    mask_ratio: Fraction = 0.35
    """Share of the words that is masked (Liu et al. 2020, 2.2)."""
    span_mean: PositiveFloat = 3.5
    """Words; mean of the Poisson distribution of masked spans (Liu et al. 2020, 2.2)."""
    permute_sentences: bool = True
    """Sentences of a line that holds several come in another order in the source (Liu et al. 2020, 2.2)."""
    epochs: PositiveInt = 20
    batch_size: PositiveInt = 64
    lr: PositiveFloat = 1e-3
    warmup_steps: NonNegativeInt = 100
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.01
    clip_norm: PositiveFloat | None = 1.0
    label_smoothing: Probability = 0.0

    def recorded(self) -> dict[str, Any]:
        """Without the seed and the name of the text file: the seed, and what the file holds, stand in the record."""
        settings = super().recorded()
        del settings["seed"], settings["text"]
        return settings


class LlmTrainingConfig(OptimizerConfig):
    """Stage 2."""

    seed: NonNegativeInt | None = None
    """Of stage 2 alone; null for the run's. `train-llm --seed` sets it if stage 1 was trained with another seed."""
    epochs: PositiveInt = 50
    batch_size: PositiveInt = 16
    lr: PositiveFloat = 1e-5
    """Peak learning rate of the LLM (paper, 4.3)."""
    adapter_lr: PositiveFloat = 1e-3
    """Peak learning rate of the LLM-Adapter (paper, 4.3)."""
    dropout: Probability | None = None
    """Of the LLM; null for the one it was made with."""
    feature_dropout: Probability = 0.0
    """Share of the features' values (each channel of each step on its own) that is zeroed in training."""
    step_dropout: Probability = 0.0
    """Share of the time steps whose features are zeroed whole in training."""
    channel_dropout: Probability = 0.0
    """Share of the channels of each clip that are zeroed over all its steps in training."""
    length_buckets: bool = True
    """Batches hold clips of similar length: under 10 % padding, of clips as long as PHOENIX14T's, instead of half."""
    unfreeze: Literal["none", "temporal", "all"] = "none"
    """Parts of the visual encoder that learn with the LLM, then from pixels and not from the cache: none, the temporal
    module, or all of it (paper, table 9). `train-joint` takes none for all."""
    encoder_lr: PositiveFloat = 1e-4
    """Peak learning rate of those parts; our choice, the paper is silent."""
    patience: PositiveInt | None = 10
    evaluate_every: PositiveInt = 1
    """Epochs between evaluations on dev."""

    def recorded(self) -> dict[str, Any]:
        """Channel dropout only where it is set: earlier records have none. The seed stands beside it."""
        recorded = super().recorded()
        del recorded["seed"]
        if not self.channel_dropout:
            del recorded["channel_dropout"]
        return recorded

    @property
    def dropouts(self) -> dict[str, float]:
        """Of the features, as SignTranslator takes them."""
        names = ("feature_dropout", "step_dropout", "channel_dropout")
        return {name: getattr(self, name) for name in names}


class ControlConfig(Section):
    """The control beside a stage-2 score: stage 1's Light-T trained on over the same cache, for all of stage 2's
    epochs, without its patience."""

    lr: PositiveFloat = 5e-4
    """Peak learning rate of AdamW, for adapter and Light-T alike."""


class FeaturesConfig(Section):
    level: Literal["frame", "sign", "hidden", "imported"] = "sign"
    """What is cached: frame-wise, sign-wise, or hidden states of Light-T's encoder (paper, table 8); imported: features
    that were made elsewhere and brought in by `slt-cache cache import`."""
    dtype: Literal["float16", "float32"] = "float16"
    """Of the numbers in the cache."""
    views: Annotated[int, Field(ge=1, le=100)] = 1
    """Of each clip: view 0 is plain, the others are augmented as `augmentation` says; stage 2 draws one a clip and
    epoch."""
    view_seed: NonNegativeInt = 0
    """Of the augmented views."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Of the frozen encoder; bf16 and fp16 are faster on a GPU, and make other features."""
    batch_frames: PositiveInt | None = None
    """Kept frames that go through the encoder at once; null for as many as suit the device."""
    clips_per_part: PositiveInt = 64
    """Clips in one part file, the unit in which an interrupted extraction goes on."""


class GenerationConfig(Section):
    num_beams: PositiveInt = 5
    """(paper, 4.3)"""
    dev_beams: PositiveInt = 1
    """Of the evaluations on dev while a training goes on, which decide which weights are the best; 1 is greedy search.
    The best weights are scored once more with num_beams when the training has ended."""
    max_new_tokens: PositiveInt = 128
    """Fewer where the LLM has not so many positions."""
    length_penalty: float = 1.0
    """Hypotheses are ranked by log-probability / tokens ** length_penalty: more than 1 favours long ones."""
    batch_size: PositiveInt = 32
    """Clips decoded at once."""

    @property
    def on_dev(self) -> "GenerationConfig":
        """The search while a training goes on."""
        return self.model_copy(update={"num_beams": self.dev_beams})


class ScoringConfig(Section):
    preset: Literal["plain", "phoenix14t", "csl-daily", "how2sign"] | None = None
    """How hypotheses and references are cut into words; null: the one of the corpus' name where there is
    one, else csl-daily for Chinese and plain for other languages."""
    final_dot: Literal["keep", "add", "strip"] = "keep"
    """Of hypotheses and references alike. keep: the raw text; add: every sentence ends in one dot (` .`, Chinese `。`),
    but for those that end in ! or ?; strip: dots at the end are left out."""
    lowercase: bool = False
    """Hypotheses and references are lowercased before scoring."""


class ComputeConfig(Section):
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Of the training steps; features.precision is that of the frozen encoder."""
    workers: NonNegativeInt = 2
    """Processes that read videos."""
    save_minutes: Annotated[float, Field(ge=0.0)] = 10.0
    """Between two savings of a training's state within an epoch: a killed one loses no more than that; 0 saves after
    every update. It is saved after every epoch too, and on Ctrl-C and SIGTERM."""
    diagnostics: bool = True
    """Every tenth update logs the gradient norm, before clipping, and the parameter norm of the last layer of each
    module, as the paper's figure 2 shows them."""
    tracker: Literal["none", "tensorboard", "wandb"] = "none"
    """Where the figures of metrics.jsonl, which is written always, go beside it; the packages are not
    installed by themselves: pip install tensorboard, or wandb."""
    sync_batchnorm: bool = True
    """Of several processes (torchrun): batch norms go by the statistics of the whole batch, as those of one process do;
    false: by those of each process's share."""
    verify_features: bool = True
    """Compare each row of a feature cache with its checksum when a process first reads it. `slt-cache bench cache`
    measures what it costs."""
    compile: bool = False
    """Trainings from pixels run the backbone compiled by torch.compile; for a GPU, where the compiling pays. Numbers
    differ in the last digits."""


class Config(Section):
    """One run."""

    seed: NonNegativeInt = 0
    """Of everything random in training; the demo corpus has its own."""
    corpus: CorpusConfig = CorpusConfig()
    video: VideoConfig = VideoConfig()
    augmentation: AugmentationConfig = AugmentationConfig()
    encoder: EncoderConfig = EncoderConfig()
    light_t: LightTConfig = LightTConfig()
    visual_training: VisualTrainingConfig = VisualTrainingConfig()
    features: FeaturesConfig = FeaturesConfig()
    llm: LlmConfig = LlmConfig()
    llm_pretraining: LlmPretrainingConfig = LlmPretrainingConfig()
    llm_training: LlmTrainingConfig = LlmTrainingConfig()
    control: ControlConfig = ControlConfig()
    generation: GenerationConfig = GenerationConfig()
    scoring: ScoringConfig = ScoringConfig()
    compute: ComputeConfig = ComputeConfig()

    @model_validator(mode="after")
    def _compiled_whole(self) -> "Config":
        if self.compute.compile and (self.encoder.checkpointing or self.encoder.chunk_frames):
            raise ValueError("compute.compile goes with neither encoder.checkpointing nor encoder.chunk_frames")
        return self

    @property
    def of_stage_2(self) -> "Config":
        """The same settings with stage 2's seed."""
        own = self.llm_training.seed
        return self if own is None else self.model_copy(update={"seed": own})

    @property
    def language_code(self) -> str | None:
        """The LLM's code of the sentences' language; None where nothing tells it, which models without codes allow."""
        if self.llm.language is None and self.corpus.name == "avatar":
            return AVATAR_LANGUAGE_CODES[self.corpus.language]
        return self.llm.language
