"""Masked-sentence denoising: the translator also restores sentences some of whose tokens are masked, which teaches its
decoder the language without the video (GFSLT-VLP: Zhou et al., ICCV 2023, section 3, text decoder)."""

import numpy as np
import torch

from slt_cache.errors import InputError
from slt_cache.models.translators import token_loss
from slt_cache.text.tokenizer import Tokenizer
from slt_cache.training.objectives.base import Objective, Seen, Sentences, Setup

MASKED = 0.15
"""Fraction of the tokens of a sentence that are masked, at least one."""
SMOOTHING = 0.2
"""Label smoothing of this term."""


class Denoising(Objective):
    """Cross-entropy of the sentence given itself with masked tokens. The masks follow from the seed, the epoch and the
    sentence. Unlike there, gradients also reach the encoder of the sentence, which is no pre-trained one. The unknown
    token of a tokenizer without a mask, such as T5's, takes its place."""

    per = "tokens"

    def __init__(self, setup: Setup):
        super().__init__()
        self.seed = setup.seed
        self.mask = _mask_of(setup.tokenizer)

    def forward(self, seen: Seen) -> torch.Tensor:
        read = Sentences(self.masked(seen.sentences, seen.epoch), seen.sentences.mask).to(seen.states.device)
        logits = seen.translator.seq2seq(
            input_ids=read.ids,
            attention_mask=read.mask.long(),
            decoder_input_ids=seen.targets.decoder_input_ids,
            use_cache=False,
        ).logits
        return token_loss(logits, seen.targets.labels, SMOOTHING)

    def masked(self, sentences: Sentences, epoch: int) -> torch.Tensor:
        """Returns the ids [B, L] with masked tokens; the end token stays."""
        ids = sentences.ids.clone()
        for row, length in enumerate((sentences.mask.sum(1) - 1).tolist()):
            random = np.random.default_rng((self.seed, epoch, *ids[row, :length].tolist()))
            places = random.permutation(length)[: max(1, round(MASKED * length))]
            ids[row, torch.from_numpy(places).to(ids.device)] = self.mask
        return ids


def _mask_of(tokenizer: Tokenizer) -> int:
    """Returns the id of the token that stands for a masked one. Raises InputError if there is none."""
    inner = tokenizer.inner
    if inner.mask_token_id is not None:
        return int(inner.mask_token_id)
    if inner.unk_token_id is None or inner.unk_token_id in (inner.eos_token_id, inner.bos_token_id, tokenizer.pad):
        raise InputError(
            "denoising: the tokenizer of this LLM has neither a mask token nor one for unknown text. Leave this term "
            "out of the objective."
        )
    return int(inner.unk_token_id)
