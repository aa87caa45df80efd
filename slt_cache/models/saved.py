"""Saving of a trained translator as one self-contained folder: the LLM in the format of `from_pretrained`, its
tokenizer and generation settings, the adapter, LoRA weights if any, and what it was trained on.

saved_lora.py has what LoRA adds."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from huggingface_hub import snapshot_download
from safetensors.torch import save_model
from transformers import GenerationConfig, PreTrainedModel

from slt_cache.advice import command
from slt_cache.config import TemporalConfig
from slt_cache.config.llm_training import CHANNELS
from slt_cache.corpora.languages import short_name
from slt_cache.encoders.packing import ClipTensors, packed
from slt_cache.errors import InputError
from slt_cache.files import write_json
from slt_cache.models.llm.lora import base_weights, has_lora
from slt_cache.models.saved_lora import LORA_FOLDER as LORA_FOLDER
from slt_cache.models.saved_lora import has_base as has_base
from slt_cache.models.saved_lora import link_base, read_lora, read_seq2seq, write_base, write_lora
from slt_cache.models.saved_lora import load_lora as load_lora
from slt_cache.models.translators import SignTranslator, kind_of
from slt_cache.models.weights import load_weights
from slt_cache.reading import RESTORE, read_as, read_object
from slt_cache.text.pretrained import TRANSLATOR_FILE, loading
from slt_cache.text.tokenizer import Tokenizer, load_tokenizer

Array = np.ndarray | torch.Tensor
ADAPTER_FILE = "adapter.safetensors"
ABOUT_FILE = TRANSLATOR_FILE
SEARCH = ("num_beams", "max_new_tokens", "length_penalty")
"""Settings of beam search that are saved."""


@dataclass(frozen=True)
class About:
    """Description of a saved translator, in its sign_translator.json."""

    features: Mapping[str, Any]
    """Spec of the features that it reads (features/spec.py)."""
    language: str | None
    """Language code of the LLM."""
    llm: str
    """Model that was fine-tuned: a hub name, or the last part of a path."""
    lora: Mapping[str, Any] | None = None
    """LoRA settings, if it was trained with LoRA; the weights are in lora/ unless merged."""
    temporal: TemporalConfig | None = None
    """Temporal module before the adapter; None if there is none."""
    streams: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Spec of each stream of features, in order, by name; empty if there is one stream. `features` is the first."""
    stream_fusion: str = CHANNELS
    """Fusion of the streams (llm_training.stream_fusion)."""
    corpus: str = ""
    dev: Mapping[str, float] | None = None
    """Scores of these weights on the dev split."""
    scoring: Mapping[str, Any] = field(default_factory=dict)
    """Scoring of dev: the preset, and how both texts were normalized."""
    generation: Mapping[str, Any] = field(default_factory=dict)
    """Settings of beam search under transformers' names; kept in generation_config.json."""
    tool: str = ""

    @property
    def dims(self) -> list[int]:
        """C of each stream."""
        return [spec["dim"] for spec in self.streams.values()] or [self.features["dim"]]

    @property
    def encoder_sha256(self) -> str | None:
        """SHA-256 of the visual encoder whose features it reads; None for features made elsewhere."""
        sha256: str | None = self.features["encoder_sha256"]
        return sha256


class SavedTranslator(SignTranslator):
    """Translator with its tokenizer and description, as `SignTranslator.from_pretrained` returns it."""

    def __init__(self, seq2seq: PreTrainedModel, tokenizer: Tokenizer, about: About):
        super().__init__(
            about.dims,
            seq2seq,
            tokenizer.start,
            before=tokenizer.before,
            prefixes=tokenizer.prefixes,
            temporal=about.temporal,
            stream_fusion=about.stream_fusion,
        )
        self.tokenizer = tokenizer
        self.about = about

    def require_language(self, language: str | None) -> str:
        """Makes a translator that writes several languages one of a single one; `language` is its short name. Returns
        it as manifests name it, empty if there is only one. Raises InputError for one that it does not write, or none
        of several."""
        known = self.tokenizer.languages or (self.about.language or "",)
        if language is None and len(known) < 2:
            return ""
        found = next((one for one in known if language and short_name(one) == short_name(language)), None)
        if found is None:
            wrong = "none is named" if language is None else f"it does not write {language}"
            raise InputError(f"--language: {wrong}. The model writes {', '.join(map(short_name, known))}; name one.")
        if len(self.prefixes) > 1:
            self.tokenizer = self.tokenizer.of_language(found)
            self.start, self.prefixes = self.tokenizer.start, self.tokenizer.prefixes
            self.kind = kind_of(self.seq2seq, self.start, self.tokenizer.before, self.prefixes)
        return found if len(known) > 1 else ""

    def translate(
        self, features: Sequence[Array | Sequence[Array] | Mapping[str, Array]], batch_size: int = 32
    ) -> list[str]:
        """Translates clips, each given as features [N, C], by beam search with the saved settings. Returns one sentence
        per clip. If it reads several streams, a clip is given as the features of each, by name or in their order. If it
        writes several languages, choose one first with `require_language`.

        Raises InputError for features of another shape, and for streams that are missing or unknown."""
        clips = [self._checked(number, clip) for number, clip in enumerate(features)]
        texts: list[str] = []
        for first in range(0, len(clips), batch_size):
            batch = clips[first : first + batch_size]
            found = self.generate(*packed(batch), do_sample=False, **self.about.generation)
            texts += [self.tokenizer.decode(ids) for ids in found.sequences[:, len(self.start) :].tolist()]
        return texts

    def _checked(self, number: int, clip: Array | Sequence[Array] | Mapping[str, Array]) -> ClipTensors:
        """Returns the features as float32 on the model's device."""
        streams = self.about.streams
        if not streams:
            return self._checked_stream(f"clip {number}: its features have", clip, self.about.features["dim"])
        given = clip if isinstance(clip, Mapping) else dict(zip(streams, clip, strict=False))
        if given.keys() != streams.keys() or len(given) != len(clip):
            raise InputError(
                f"clip {number}: give the features of each stream: {', '.join(streams)}; given: "
                f"{', '.join(given) if isinstance(clip, Mapping) else f'{len(clip)} streams'}."
            )
        return tuple(
            self._checked_stream(f"clip {number}: its stream {name} has", given[name], spec["dim"])
            for name, spec in streams.items()
        )

    def _checked_stream(self, which: str, clip: Any, dim: int) -> torch.Tensor:
        device = next(self.parameters()).device
        if clip.ndim != 2 or clip.shape[1] != dim or not len(clip):
            raise InputError(f"{which} shape {tuple(clip.shape)}, expected [N, {dim}] with N >= 1.")
        if isinstance(clip, torch.Tensor):
            return clip.to(device, torch.float32)
        return torch.from_numpy(np.array(clip, dtype=np.float32)).to(device)  # a copy: a cache is mapped read-only


def write_translator(
    folder: Path, model: SignTranslator, tokenizer: Tokenizer, about: About, earlier: Path | None = None
) -> None:
    """Writes a translator into a folder that `read_translator` reads. `earlier` is a folder of a translator from which
    the weights of a frozen LLM are linked, if they are the same."""
    if has_lora(model.seq2seq):
        write_lora(folder / LORA_FOLDER, model.seq2seq, about.llm)
        linked = earlier is not None and link_base(earlier, folder)
        write_base(folder, model.seq2seq, {} if linked else base_weights(model.seq2seq))
        tokenizer.save(folder)
    else:
        write_seq2seq(folder, model.seq2seq, tokenizer)
    save_model(model.adapter, str(folder / ADAPTER_FILE))
    _generation_config(model, about.generation).save_pretrained(folder)
    write_about(folder, about)


def write_search(folder: Path, search: Mapping[str, Any]) -> None:
    """Replaces the settings of beam search in the folder of a saved translator."""
    ids = GenerationConfig.from_pretrained(folder).to_diff_dict()
    kept = {name: value for name, value in ids.items() if name not in SEARCH}
    GenerationConfig(**kept, **_wanted(search)).save_pretrained(folder)


def write_about(folder: Path, about: About) -> None:
    """Writes the description next to the weights; generation settings are in transformers' own file."""
    values = asdict(about)
    del values["generation"]
    values["temporal"] = None if about.temporal is None else about.temporal.model_dump()
    if not about.streams:
        del values["stream_fusion"]
    values = {name: value for name, value in values.items() if value or name not in ("temporal", "streams")}
    write_json(folder / ABOUT_FILE, values)


def write_seq2seq(folder: Path, seq2seq: PreTrainedModel, tokenizer: Tokenizer) -> None:
    """Writes an LLM without LoRA, and its tokenizer."""
    seq2seq.save_pretrained(folder)
    tokenizer.save(folder)


def _generation_config(model: SignTranslator, search: Mapping[str, Any]) -> GenerationConfig:
    """Returns a generation config that also serves transformers' own `generate`, with the decoder prefix under its
    names. With one beam transformers rejects a length penalty, which would change nothing."""
    ids = model.seq2seq.generation_config.to_diff_dict()
    if model.seq2seq.config.is_encoder_decoder:
        first, *second = model.start
        second = [] if len(model.prefixes) > 1 else second  # no language is the usual one
        ids |= {"decoder_start_token_id": first, **({"forced_bos_token_id": second[0]} if second else {})}
    return GenerationConfig(**{**ids, **_wanted(search)})


def _wanted(search: Mapping[str, Any]) -> dict[str, Any]:
    greedy = search.get("num_beams", 1) == 1
    return {name: search[name] for name in SEARCH if name in search and not (greedy and name == "length_penalty")}


def read_translator(name: str | Path, base: str | Path | None = None) -> SavedTranslator:
    """Loads a saved translator from a folder or by hub name, in evaluation mode. `base` is the LLM that its LoRA
    adapts, a folder or hub name, if the folder does not hold it; None for the one that it names.

    Raises InputError if it does not exist or is not a saved translator, or if `base` is another LLM."""
    folder = translator_folder(str(name))
    if not (folder / ABOUT_FILE).is_file():
        raise InputError(
            f"{name}: no {ABOUT_FILE}; not saved by stage 2, or by an older version. "
            f"Use the folder llm/best of a run, or train again: {command('train-llm --restart')}"
        )
    with loading(str(folder)):
        about = read_about(folder)
        seq2seq = read_seq2seq(folder, base, dtype_of(folder))
        if (folder / LORA_FOLDER).is_dir():
            read_lora(folder / LORA_FOLDER, seq2seq)
        model = SavedTranslator(seq2seq, load_tokenizer(str(folder), about.language), about)
        load_adapter(folder, model)
        model.to(next(seq2seq.parameters()).device)  # a quantized LLM is on a GPU already
    return model.eval()


def dtype_of(folder: Path) -> torch.dtype:
    """Returns the type of the LLM's weights: bfloat16 for one that was frozen in it, else float32."""
    return torch.bfloat16 if read_object(folder / "config.json").get("dtype") == "bfloat16" else torch.float32


def read_about(folder: Path) -> About:
    """Reads what a saved translator says of itself. Raises InputError if it is damaged."""
    saved = GenerationConfig.from_pretrained(folder)
    search = {key: getattr(saved, key) for key in SEARCH if getattr(saved, key) is not None}
    about = replace(read_as(folder / ABOUT_FILE, About), generation=search)
    for spec in (about.features, *about.streams.values()):
        dim = spec.get("dim")
        if not isinstance(dim, int) or dim < 1 or "encoder_sha256" not in spec:
            raise InputError(f"{folder / ABOUT_FILE}: damaged: its features lack dim or encoder_sha256. {RESTORE}")
    return about


def load_adapter(folder: Path, model: SignTranslator) -> None:
    """Loads the adapter of a saved translator. Raises InputError."""
    load_weights(model.adapter, folder / ADAPTER_FILE)


def translator_folder(name: str) -> Path:
    """Returns a folder by its path, or of what lies under that name on the hub. Raises InputError if there is none."""
    if Path(name).is_dir():
        return Path(name)
    try:
        return Path(snapshot_download(name))
    except (OSError, ValueError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:160]
        raise InputError(
            f"{name}: neither the folder of a saved translator nor available from the hub ({reason}). With a "
            f"network: hf download {name} --local-dir FOLDER. Then use that folder."
        ) from error
