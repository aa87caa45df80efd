"""The demo corpus as one corpus among others. Light: the modules that plan and draw it are imported when needed."""

from collections.abc import Callable
from pathlib import Path
from statistics import mean

from slt_cache.config import CorpusConfig
from slt_cache.corpora.base import Corpus, CorpusScan, PlannedSize, count_by_split
from slt_cache.progress import log, progress_bar

LANGUAGE_CODES = {"de": "de_DE", "en": "en_XX", "zh": "zh_CN"}


class Avatar(Corpus):
    """The demo corpus of drawn figures."""

    config = "avatar"
    is_drawn = True
    notice = (
        "The corpus `avatar` consists of drawn figures with an invented lexicon, a stand-in to try the pipeline\n"
        "with. **It is not sign language**, and this model translates no sign language."
    )

    def read(self, settings: CorpusConfig, folder: Path, may_replace: Callable[[], bool]) -> CorpusScan:
        """Draws what is missing of it in the folder."""
        from slt_cache.corpora.avatar.write import is_of_other_settings, write_avatar  # imports PyAV

        replace = settings.root is None and is_of_other_settings(settings, folder) and may_replace()
        if replace:
            log(f"{folder} is drawn again with the new settings, since nothing was trained on it")
        with progress_bar("drawing clips") as progress:
            clips = write_avatar(settings, folder, progress, replace=replace)
        return CorpusScan(clips, count_by_split(clips))

    def language_code(self, settings: CorpusConfig) -> str | None:
        return LANGUAGE_CODES[settings.language]

    def planned(self, settings: CorpusConfig) -> PlannedSize | None:
        """Returns the size that will be drawn; the number of frames from every tenth clip."""
        from slt_cache.corpora.avatar.motion import clip_poses
        from slt_cache.corpora.avatar.plan import plan_avatar

        plan = plan_avatar(settings)
        clips = count_by_split(plan.clips)
        length = mean(len(clip_poses(clip)) for clip in plan.clips[::10])
        frames = {split: count * length for split, count in clips.items()}
        words = mean(len(clip.text.split()) for clip in plan.clips)
        return PlannedSize(clips, frames, len(plan.monolingual), "to be drawn", words)


CORPUS: Corpus = Avatar()
