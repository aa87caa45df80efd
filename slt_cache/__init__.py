"""slt-cache: gloss-free sign language translation in two stages, built around a feature cache."""

__version__ = "0.1.0"
