"""YouTube-SL-25 (Tanzer and Zhang 2024): over 25 sign languages, each with the captions of its videos."""

from slt_cache.corpora.base import Corpus
from slt_cache.corpora.youtube import YouTube

CORPUS: Corpus = YouTube(
    "youtube_sl_25", "YouTube-SL-25", ("youtube-sl-25-metadata.csv", "youtube-sl-25.csv"), sign_language=None
)
