"""A small MBart and a small mT5, of the same architectures as the large ones, for corpora that pre-train their own."""

from transformers import MBartConfig, MBartForConditionalGeneration, MT5Config, MT5ForConditionalGeneration

from slt_cache.config import SMALL_MBART_POSITIONS, LlmPretrainingConfig
from slt_cache.models.llm.encoder_decoder import give_own_output_layer

MAX_POSITIONS = SMALL_MBART_POSITIONS
"""mT5 has no such end."""


def make_small_mbart(
    shape: LlmPretrainingConfig, vocabulary: int, pad: int, eos: int, language_code: int
) -> MBartForConditionalGeneration:
    """From scratch, with MBart's scaled and tied embeddings."""
    config = MBartConfig(
        vocab_size=vocabulary,
        max_position_embeddings=MAX_POSITIONS,
        d_model=shape.hidden,
        encoder_layers=shape.layers,
        decoder_layers=shape.layers,
        encoder_attention_heads=shape.heads,
        decoder_attention_heads=shape.heads,
        encoder_ffn_dim=shape.feed_forward,
        decoder_ffn_dim=shape.feed_forward,
        dropout=shape.dropout,
        scale_embedding=True,
        tie_word_embeddings=True,
        pad_token_id=pad,
        eos_token_id=eos,
        forced_eos_token_id=eos,
        decoder_start_token_id=language_code,
    )
    return MBartForConditionalGeneration(config)


def make_small_mt5(
    shape: LlmPretrainingConfig, vocabulary: int, pad: int, eos: int, language_code: int
) -> MT5ForConditionalGeneration:
    """From scratch, with mT5's relative positions, gated feed-forward layers and an output layer of its own. It reads
    and writes the pieces of the small MBart, so that a comparison of both is one of architectures."""
    config = MT5Config(
        vocab_size=vocabulary,
        d_model=shape.hidden,
        d_kv=shape.hidden // shape.heads,
        d_ff=shape.feed_forward,
        num_layers=shape.layers,
        num_decoder_layers=shape.layers,
        num_heads=shape.heads,
        dropout_rate=shape.dropout,
        feed_forward_proj="gated-gelu",
        pad_token_id=pad,
        eos_token_id=eos,
        decoder_start_token_id=language_code,
    )
    model = MT5ForConditionalGeneration(config)
    give_own_output_layer(model)
    return model
