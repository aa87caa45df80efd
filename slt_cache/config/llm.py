"""Settings of the LLM: which model, its pre-training, and decoding."""

from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

from slt_cache.config.optimizer import OptimizerConfig
from slt_cache.config.section import Fraction, PathName, Probability, Section, _without_off, require_init_from


class LoraConfig(Section):
    """LoRA (Hu et al. 2022): the LLM is frozen, and low-rank matrices added to some of its linear layers are trained at
    llm_training.lr; 10 to 100 times the rate for full fine-tuning suits them. The LLM-Adapter is trained as usual."""

    r: PositiveInt = 8
    """Rank of the low-rank matrices."""
    alpha: PositiveInt = 16
    """Scaling of LoRA: its output is multiplied by alpha / r."""
    dropout: Probability = 0.0
    """Dropout on the input of the low-rank matrices."""
    targets: tuple[str, ...] | None = None
    """Linear layers to adapt, by the last part of their names; null: in an encoder-decoder the query and value
    projections of every attention (Hu et al. 2022, 4.2), which are q_proj and v_proj in MBart, M2M100, NLLB and BART, q
    and v in T5; in a decoder-only LLM all linear layers but the output layer (Dettmers et al. 2023, 4)."""
    dora: bool = False
    """Also train the length of each column of the adapted weights (DoRA, Liu et al. 2024): slower, often better at low
    rank."""
    rslora: bool = False
    """Scale by alpha / sqrt(r) (rsLoRA, Kalajdzievski 2023), so that higher ranks learn as fast as low ones."""

    def recorded(self) -> dict[str, Any]:
        """Returns the settings for a record; variants of LoRA, added later, are omitted when off, so older records
        still compare equal."""
        return _without_off(self, {"dora", "rslora"})


LIGHT_T = "light-t"
"""Value of llm.name for a Light-T, which learns from features alone, with the tokenizer of a small LLM."""
VIDEO = "{video}"
"""Placeholder of the video in a prompt."""
LANGUAGE = "{language}"
"""Placeholder of the language in a prompt."""


class LlmConfig(Section):
    name: PathName = "facebook/mbart-large-cc25"
    """Hub name or local folder of an encoder-decoder (MBart, T5) or a decoder-only LLM (Gemma, Llama), or path of a
    .gguf file; or small-mbart or small-mt5, which `slt-cache llm pretrain` trains from text; or light-t, a Light-T of
    `light_t.size` that learns from the features alone, at `control.lr` unless llm_training.lr and adapter_lr are set
    together with it."""
    pretrained: bool = True
    """Load the pre-trained weights; false: the same architecture from scratch (paper, table 10)."""
    trim: bool = True
    """Keep only special tokens and the tokens that occur in the train split's sentences (paper, 4.3). small-mbart has
    no others."""
    keep_characters: bool = False
    """Also keep every single character of the sentences' scripts when trimming, for words that train does not
    contain."""
    init_from: PathName | None = None
    """A translator that stage 2 has trained, such as `OTHER/llm/best` or a published copy of it: stage 2 begins with
    its LLM, LoRA matrices, adapter and tokenizer, in place of `name`, and trims nothing."""
    init_without: tuple[Literal["adapter", "lora", "language", "prompt"], ...] = ()
    """Parts of `init_from` that do not fit and are started fresh: the adapter (features of another size), the LoRA
    matrices (another rank, or other layers), the language (sentences of another one), the prompt (another one)."""
    language: str | None = None
    """Language code of the sentences, which decoding starts with, as the LLM spells it: de_DE, en_XX, zh_CN (MBart),
    deu_Latn (NLLB), de (M2M100); T5 and BART have none. null: the language of the corpus, or those of the manifest's
    column `language`, whose codes can be named as `de=deu_Latn+en=eng_Latn`."""
    lora: LoraConfig | None = None
    """LoRA settings, such as `--set llm.lora.r=16`; null: full fine-tuning."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Data type of the LLM's frozen weights under LoRA; bfloat16 takes half the memory and rounds. LoRA and the
    LLM-Adapter are always float32."""
    quantize: Literal["8bit", "4bit"] | None = None
    """Hold the linear layers of the LLM, frozen under LoRA, as 8-bit integers or 4-bit NormalFloats (QLoRA, Dettmers et
    al. 2023); `dtype` is that of the rest. Requires a GPU and the package bitsandbytes."""

    prompt: str = VIDEO
    """Input of a decoder-only LLM, such as `Translate: {video} {language}:`, which the sentence follows; `{language}`
    stands for the English name of the sentence's language. Encoder-decoders take no prompt."""
    chat_template: bool = False
    """Format the prompt as a user turn with the chat template of the LLM's tokenizer."""

    @field_validator("prompt", mode="before")
    @classmethod
    def _as_text(cls, value: Any) -> Any:
        """Returns the unquoted placeholder, which YAML reads as a mapping, as text."""
        return VIDEO if value == {VIDEO[1:-1]: None} else value

    @field_validator("prompt")
    @classmethod
    def _one_video(cls, value: str) -> str:
        if value.count(VIDEO) != 1:
            raise ValueError(f"must contain {VIDEO} exactly once")
        return value

    def recorded(self) -> dict[str, Any]:
        """Returns the settings for a record; those that were added later only if set, since earlier records lack them.
        With `init_from` nothing is trimmed."""
        later = ("prompt", "chat_template", "init_from", "init_without", "dtype", "quantize")
        usual = LlmConfig().model_dump(mode="json", include=set(later))
        unused = set() if self.init_from is None else {"trim", "keep_characters"}
        lora = None if self.lora is None else self.lora.recorded()
        settings = {**self.model_dump(mode="json", exclude=unused), "lora": lora}
        return {name: value for name, value in settings.items() if name not in usual or value != usual[name]}

    @model_validator(mode="after")
    def _something_to_adapt(self) -> "LlmConfig":
        if self.lora is not None and not self.pretrained:
            raise ValueError("with pretrained false, LoRA would freeze random weights; set lora to null")
        if self.lora is not None and self.source == LIGHT_T:
            raise ValueError(f"{LIGHT_T} is not pre-trained, and LoRA would freeze random weights; set lora to null")
        if self.init_from is not None and not self.pretrained:
            raise ValueError("init_from takes trained weights; set pretrained to true, or init_from to null")
        if self.lora is None and (self.dtype != "float32" or self.quantize):
            setting = f"quantize {self.quantize}" if self.quantize else f"dtype {self.dtype}"
            raise ValueError(
                f"{setting} is for frozen weights, but without LoRA the whole LLM learns. Set llm.lora.r=16, "
                "or compute.precision=bf16, which computes in bfloat16 and keeps float32 weights"
            )
        require_init_from(self.init_from, self.init_without)
        return self

    @property
    def source(self) -> str:
        """Where the LLM comes from: `init_from`, or else `name`."""
        return self.name if self.init_from is None else self.init_from


CAUSAL, PREFIX = "causal", "prefix"
"""Values of llm_pretraining.objective: a decoder-only LLM is adapted to the text."""
WHOLE_LR = 1e-4
"""Default of llm_pretraining.lr for a pre-trained LLM that is trained whole."""
OF_SMALL_LLMS = (
    *("vocabulary", "layers", "heads", "hidden", "feed_forward", "dropout"),
    *("mask_ratio", "span_mean", "permute_sentences"),
)
"""Settings of llm_pretraining that are not read for an LLM that is only adapted."""


class LlmPretrainingConfig(OptimizerConfig):
    """Training on text alone, before stage 2: a small MBart (or mT5) learns to restore noised sentences (Liu et al.
    2020, 2.2), or a decoder-only LLM is adapted to the language of the corpus."""

    objective: Literal["denoising", "causal", "prefix"] = "denoising"
    """denoising: a small LLM of fresh weights. causal: llm.name, a decoder-only LLM, learns the text as a language
    model. prefix: it learns to restore each sentence from some of its words, which stand before it as the video will.
    For both, its vocabulary is trimmed to the text and the train sentences, and dev decides which weights are kept, by
    the loss per token."""
    lora: LoraConfig | None = None
    """causal, prefix: settings of LoRA, which is merged into the LLM when it is saved; null: the whole LLM learns."""
    sentences: PositiveInt | None = None
    """Sentences of the text at most, drawn evenly from all of it; null: all."""
    seed: NonNegativeInt | None = None
    """Random seed of pre-training; null for the run's seed. Set it so that runs with different seeds start from the
    same LLM."""
    text: PathName | None = None
    """Text file with one sentence per line; null: the corpus' monolingual sentences, else those of the train split."""
    vocabulary: Annotated[int, Field(ge=16)] = 500
    """Largest number of tokens in the vocabulary; fewer if the text does not yield as many."""
    layers: PositiveInt = 2
    """Layers of the encoder and of the decoder."""
    heads: PositiveInt = 4
    """Heads of each attention."""
    hidden: PositiveInt = 192
    """Width of the model."""
    feed_forward: PositiveInt = 768
    """Width of the feed-forward layers."""
    dropout: Probability = 0.1
    """Dropout of the small LLM in pre-training and, unless llm_training.dropout is set, in stage 2."""
    mask_ratio: Fraction = 0.35
    """Fraction of the words that are masked (Liu et al. 2020, 2.2), or with the objective prefix omitted."""
    span_mean: PositiveFloat = 3.5
    """Words; mean of the Poisson distribution of the lengths of masked spans (Liu et al. 2020, 2.2)."""
    permute_sentences: bool = True
    """Shuffle the sentences of a line in the source (Liu et al. 2020, 2.2)."""
    epochs: PositiveInt = 20
    batch_size: PositiveInt = 64
    lr: PositiveFloat = 1e-3
    """Peak learning rate; with the objectives causal and prefix, where the LLM is pre-trained, the default is 1e-4, or
    5e-4 with LoRA."""
    warmup_steps: NonNegativeInt = 100
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.01
    clip_norm: PositiveFloat | None = 1.0
    label_smoothing: Probability = 0.0

    @model_validator(mode="before")
    @classmethod
    def _lr_of_adaptation(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("objective") in (CAUSAL, PREFIX):
            return {"lr": 5e-4 if values.get("lora") is not None else WHOLE_LR, **values}
        return values

    def recorded(self) -> dict[str, Any]:
        """Returns the settings without the seed and the text: the record has the seed and the text's content elsewhere.
        What only a small LLM, or only an adapted one, has is left out for the other."""
        settings = super().recorded()
        unread = [name for name in OF_SMALL_LLMS if name != "mask_ratio" or self.objective != PREFIX]
        for name in ("seed", "text", "sentences", *(unread if self.adapts else ("objective", "lora"))):
            del settings[name]
        if self.adapts and self.lora is not None:
            settings["lora"] = self.lora.recorded()
        return settings

    @property
    def adapts(self) -> bool:
        """Whether llm.name, a decoder-only LLM, learns the text, rather than a small LLM of fresh weights."""
        return self.objective in (CAUSAL, PREFIX)


class GenerationConfig(Section):
    num_beams: PositiveInt = 5
    """Beams of the final search (paper, 4.3)."""
    dev_beams: PositiveInt = 1
    """Beams of the evaluations on dev that select the best weights during training; 1 is greedy search. The best
    weights are scored again with num_beams when training ends."""
    max_new_tokens: PositiveInt = 128
    """Largest number of tokens generated per sentence; fewer if the LLM has fewer positions."""
    length_penalty: float = 1.0
    """Exponent of the length in the ranking of hypotheses, log-probability / tokens ** length_penalty: values above 1
    favour long ones."""
    batch_size: PositiveInt = 32
    """Clips decoded in one batch."""

    @property
    def on_dev(self) -> "GenerationConfig":
        """Settings of the search during training."""
        return self.model_copy(update={"num_beams": self.dev_beams})
