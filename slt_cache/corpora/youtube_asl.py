"""YouTube-ASL (Uthus et al. 2023): American Sign Language and English."""

from slt_cache.corpora.base import Corpus
from slt_cache.corpora.youtube import YouTube

CORPUS: Corpus = YouTube("youtube_asl", "YouTube-ASL", ("youtube_asl_video_ids.txt", "youtube-asl.txt"), "ase")
