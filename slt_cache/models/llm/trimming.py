"""An encoder-decoder with fewer rows in its word embeddings, for a vocabulary that was trimmed. Knows no tokenizers."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from slt_cache.errors import InputError

ID_KEY = "_token_id"
"""How the names of settings end that hold a token's id, or a list of them."""
ID_LISTS = ("suppress_tokens", "begin_suppress_tokens", "bad_words_ids", "force_words_ids", "forced_decoder_ids")
"""Settings with ids in lists, or in lists of lists."""


def token_ids_of(model: Any) -> set[int]:
    """Ids that the model's settings name (start, end, padding, forced ones): a trimmed vocabulary must keep them."""
    named: set[int] = set()
    for config in _configs(model):
        for key, value in config.to_dict().items():
            if key.endswith(ID_KEY) and value is not None:
                named.update(value if isinstance(value, list) else [value])
    return named


def rows_of(model: Any) -> int:
    """Rows of the word embedding; more than the tokenizer has tokens where the model was padded."""
    return int(model.get_input_embeddings().weight.shape[0])


def trim_model(model: Any, old_ids: Sequence[int | None], like: Mapping[int, Sequence[int]]) -> None:
    """Keeps the rows of the old ids, in this order, and renumbers what the settings name; changes the model itself.

    `old_ids` gives for each new id the old one, None for a token without a row so far. Such a one begins as the mean
    of the old rows that `like` names for its new id, or of all kept rows. Shared weights stay shared; input, output
    and bias follow each other. Raises InputError where the settings name an id that is not kept."""
    rows = rows_of(model)
    old_ids = [old if old is not None and old < rows else None for old in old_ids]
    new_of = {old: new for new, old in enumerate(old_ids) if old is not None}
    changes = [(config, _renumbered_settings(config, new_of)) for config in _configs(model)]  # may refuse
    _trim_words(model, old_ids, like, new_of)
    if hasattr(model, "final_logits_bias"):
        model.final_logits_bias = nn.Buffer(_trimmed(model.final_logits_bias.T, old_ids, like).T.contiguous())
    for config, settings in changes:
        for key, value in settings.items():
            setattr(config, key, value)
    for config in _configs(model):
        if hasattr(config, "vocab_size"):
            config.vocab_size = len(old_ids)


def _trim_words(
    model: Any, old_ids: Sequence[int | None], like: Mapping[int, Sequence[int]], new_of: Mapping[int, int]
) -> None:
    """Gives every embedding of words and the output layer its new weights; those that were shared stay shared."""
    new_weights: dict[int, nn.Parameter] = {}
    for module in _word_modules(model):
        old = module.weight
        if id(old) not in new_weights:
            trimmed = _trimmed(old.data, old_ids, like)
            new_weights[id(old)] = nn.Parameter(trimmed, requires_grad=old.requires_grad)
        module.weight = new_weights[id(old)]
        if isinstance(module, nn.Embedding):
            module.num_embeddings = len(old_ids)
            if module.padding_idx is not None:
                module.padding_idx = new_of[module.padding_idx]
        else:
            module.out_features = len(old_ids)


def _word_modules(model: Any) -> list[Any]:
    """Every embedding of words and the layer that gives logits. Not found by size: positions may be as many."""
    output = model.get_output_embeddings()
    parts = [model.get_input_embeddings(), output, model.get_encoder().embed_tokens, model.get_decoder().embed_tokens]
    if output.bias is not None:
        raise InputError(f"{type(model).__name__}: its output layer has a bias of its own and cannot be trimmed.")
    return list({id(part): part for part in parts}.values())


def _trimmed(old: torch.Tensor, old_ids: Sequence[int | None], like: Mapping[int, Sequence[int]]) -> torch.Tensor:
    """[V, ...] -> [len(old_ids), ...]"""
    index = torch.tensor([0 if row is None else row for row in old_ids], device=old.device)
    new = old.index_select(0, index)
    kept = torch.tensor([row is not None for row in old_ids], device=old.device)
    of_all = new[kept].float().mean(0)
    for place in (~kept).nonzero().flatten().tolist():
        rows = [row for row in like.get(place, ()) if row < len(old)]
        new[place] = (old[rows].float().mean(0) if rows else of_all).to(old.dtype)
    return new


def _configs(model: Any) -> list[Any]:
    """The model's settings, those of its parts where these hold their own, and those of generation."""
    configs = [module.config for module in model.modules() if hasattr(module, "config")]
    generation = getattr(model, "generation_config", None)
    return list({id(config): config for config in [*configs, generation] if config is not None}.values())


def _renumbered_settings(config: Any, new_of: Mapping[int, int]) -> dict[str, Any]:
    """The settings that hold ids, with the new ones."""
    changed: dict[str, Any] = {}
    for key, value in config.to_dict().items():
        if value is None:
            continue
        if key.endswith(ID_KEY):
            changed[key] = _renumbered_id(key, value, new_of)
        elif key in ID_LISTS:
            # A dropped piece can be neither suppressed nor forced any more.
            changed[key] = _renumbered_lists(value, new_of) or None
        elif key == "task_specific_params":
            changed[key] = {
                task: {
                    name: new_of.get(own) if name.endswith(ID_KEY) and isinstance(own, int) else own
                    for name, own in settings.items()
                }
                for task, settings in value.items()
            }
    return changed


def _renumbered_id(key: str, value: Any, new_of: Mapping[int, int]) -> Any:
    if isinstance(value, list):
        return [_renumbered_id(key, one, new_of) for one in value]
    if value not in new_of:
        raise InputError(f"the model's {key} is {value}, which no token of its tokenizer has. Correct its config.json.")
    return new_of[value]


def _renumbered_lists(value: Any, new_of: Mapping[int, int]) -> Any:
    if any(isinstance(one, list) for one in value):
        whole = [_renumbered_lists(one, new_of) for one in value if all(part in new_of for part in one)]
        return [one for one in whole if one]
    return [new_of[one] for one in value if one in new_of]
