"""Trimming of an LLM's word embeddings and output layer to a smaller vocabulary. Knows no tokenizers."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from slt_cache.errors import InputError
from slt_cache.progress import log

ID_KEYS = ("_token_id", "_token_index")
"""Suffixes of the names of settings that hold a token id, or a list of them."""
ID_LISTS = ("suppress_tokens", "begin_suppress_tokens", "bad_words_ids", "force_words_ids", "forced_decoder_ids")
"""Names of settings that hold lists of ids, or lists of lists."""


def token_ids_of(model: Any) -> set[int]:
    """Returns the ids named in the model's settings (start, end, padding, forced ones), which a trimmed vocabulary must
    keep."""
    named: set[int] = set()
    for config in _configs(model):
        for key, value in config.to_dict().items():
            if key.endswith(ID_KEYS) and value is not None:
                named.update(value if isinstance(value, list) else [value])
    return {token for token in named if 0 <= token < rows_of(model)}


def rows_of(model: Any) -> int:
    """Returns the number of rows of the word embedding, which exceeds the tokenizer's vocabulary in a padded model."""
    return int(model.get_input_embeddings().weight.shape[0])


def trim_model(model: Any, old_ids: Sequence[int | None], like: Mapping[int, Sequence[int]]) -> None:
    """Keeps the embedding rows of the old ids, in this order, and renumbers the ids in the settings; modifies the
    model.

    `old_ids` gives the old id of each new one, None for a token without a row, which starts as the mean of the old rows
    that `like` lists for it, or of all kept rows. Tied weights stay tied; input, output and bias stay aligned. Raises
    InputError if the settings name an id that is not kept."""
    rows = rows_of(model)
    old_ids = [old if old is not None and old < rows else None for old in old_ids]
    new_of = {old: new for new, old in enumerate(old_ids) if old is not None}
    changes = [(config, _renumbered_settings(config, new_of, rows)) for config in _configs(model)]  # may refuse
    _trim_words(model, old_ids, like, new_of)
    if hasattr(model, "final_logits_bias"):
        model.final_logits_bias = nn.Buffer(_trimmed(model.final_logits_bias.T, old_ids, like).T.contiguous())
    sizes = (rows, getattr(model.config, "vocab_size", rows))
    for config, settings in changes:
        if getattr(config, "vocab_size", None) in sizes:  # a part that reads no words may have another vocabulary
            settings["vocab_size"] = len(old_ids)
        for key, value in settings.items():
            setattr(config, key, value)


def _trim_words(
    model: Any, old_ids: Sequence[int | None], like: Mapping[int, Sequence[int]], new_of: Mapping[int, int]
) -> None:
    """Replaces the weights of all word embeddings and of the output layer; tied weights stay tied."""
    new_weights = {
        id(old): nn.Parameter(_trimmed(old.data, old_ids, like), requires_grad=old.requires_grad)
        for old in _word_weights(model)
    }
    for module in model.modules():
        own = dict(module.named_parameters(recurse=False))
        for name in [name for name, weight in own.items() if id(weight) in new_weights]:
            setattr(module, name, new_weights[id(own[name])])
            if isinstance(module, nn.Embedding):
                module.num_embeddings = len(old_ids)
                module.padding_idx = None if module.padding_idx is None else new_of.get(module.padding_idx)
            elif isinstance(module, nn.Linear):
                module.out_features = len(old_ids)


def _word_weights(model: Any) -> list[nn.Parameter]:
    """Returns the weights of all word embeddings, and weight and bias of the output layer. They are not found by size,
    since positions may be as many."""
    parts = (model, model.get_encoder(), model.get_decoder()) if model.config.is_encoder_decoder else (model,)
    layers = [*(part.get_input_embeddings() for part in parts), model.get_output_embeddings()]
    return [weight for layer in layers for weight in layer.parameters(recurse=False)]


def _trimmed(old: torch.Tensor, old_ids: Sequence[int | None], like: Mapping[int, Sequence[int]]) -> torch.Tensor:
    """Returns the rows of a tensor [V, ...] in their new order, [len(old_ids), ...]."""
    index = torch.tensor([0 if row is None else row for row in old_ids], device=old.device)
    new = old.index_select(0, index)
    kept = torch.tensor([row is not None for row in old_ids], device=old.device)
    of_all = new[kept].float().mean(0)
    for place in (~kept).nonzero().flatten().tolist():
        rows = [row for row in like.get(place, ()) if row < len(old)]
        new[place] = (old[rows].float().mean(0) if rows else of_all).to(old.dtype)
    return new


def _configs(model: Any) -> list[Any]:
    """Returns all configs: of the model, of its parts that have their own, those nested in others, and of
    generation."""
    found = [module.config for module in model.modules() if hasattr(module, "config")]
    for config in found:  # it grows meanwhile
        found += [getattr(config, name) for name in getattr(config, "sub_configs", ()) if hasattr(config, name)]
    generation = getattr(model, "generation_config", None)
    return list({id(config): config for config in [*found, generation] if config is not None}.values())


def _renumbered_settings(config: Any, new_of: Mapping[int, int], rows: int) -> dict[str, Any]:
    """Returns the settings that hold ids, renumbered."""
    changed: dict[str, Any] = {}
    for key, value in config.to_dict().items():
        if value is None:
            continue
        if key.endswith(ID_KEYS):
            changed[key] = _renumbered_id(key, value, new_of, rows)
        elif key in ID_LISTS:
            # A removed token can be neither suppressed nor forced.
            changed[key] = _renumbered_lists(value, new_of) or None
        elif key == "task_specific_params":
            changed[key] = {
                task: {
                    name: new_of.get(own) if name.endswith(ID_KEYS) and isinstance(own, int) else own
                    for name, own in settings.items()
                }
                for task, settings in value.items()
            }
    return changed


def _renumbered_id(key: str, value: Any, new_of: Mapping[int, int], rows: int) -> Any:
    if isinstance(value, list):
        ids = [_renumbered_id(key, one, new_of, rows) for one in value]
        return [one for one in ids if one is not None]
    if not 0 <= value < rows:  # the default of its class, such as GPT-2's 50256, or -1 for none
        log(f"the model's {key} is {value}, but its word embedding has {rows:,} rows: the setting is dropped")
        return None
    if value not in new_of:
        raise InputError(f"the model's {key} is {value}, which is not an id of its tokenizer. Correct its config.json.")
    return new_of[value]


def _renumbered_lists(value: Any, new_of: Mapping[int, int]) -> Any:
    if any(isinstance(one, list) for one in value):
        whole = [_renumbered_lists(one, new_of) for one in value if all(part in new_of for part in one)]
        return [one for one in whole if one]
    return [new_of[one] for one in value if one in new_of]
