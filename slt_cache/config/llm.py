"""Settings of the LLM: which one, its pre-training, stage 2, and decoding."""

from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from slt_cache.config.optimizer import OptimizerConfig
from slt_cache.config.section import Fraction, PathName, Probability, Section


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
    """The Light-T baseline for a stage-2 score: stage 1's Light-T trained on over the same cache, for all of stage 2's
    epochs, without its patience."""

    lr: PositiveFloat = 5e-4
    """Peak learning rate of AdamW, for adapter and Light-T alike."""


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
