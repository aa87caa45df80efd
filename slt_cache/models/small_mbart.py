"""A small MBart, same architecture as the large one, for corpora that pre-train their own."""

from transformers import MBartConfig, MBartForConditionalGeneration

from slt_cache.config import LlmPretrainingConfig

MAX_POSITIONS = 512
"""Steps; longest input and output."""


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
