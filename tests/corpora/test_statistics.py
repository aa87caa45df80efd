"""Numbers of the table that `prepare` ends with."""

import json
from pathlib import Path

import pytest

from slt_cache.corpora.base import Clip
from slt_cache.corpora.statistics import statistics_of, words_of
from tests.helpers import official
from tests.helpers.commands import TINY, slt_cache

TRAIN_TEXT = Path(__file__).parents[3] / "shared" / "real" / "text" / "phoenix14t.train.de.txt"


def clip(number: int, split: str, text: str, signer: str = "", seconds: float | None = 3.6) -> Clip:
    return Clip(f"c{number}", split, Path("v.mp4"), 0.0, seconds, text, signer)


def test_words_of_dev_and_test_that_train_lacks_are_counted_as_words_and_as_vocabulary() -> None:
    clips = [
        clip(0, "train", "Am Montag regnet es.", "a"),
        clip(1, "train", "am Dienstag, schneit es", "b", None),
        clip(2, "dev", "Am Abend Abend regnet's – nicht!", "a"),
    ]
    made = statistics_of(clips, lambda one: one.end, False, {"sentence of several splits": ["x"]})
    train, dev = made.splits["train"], made.splits["dev"]
    assert (train.clips, train.timed_clips, train.signers) == (2, 1, 2)
    assert train.hours == pytest.approx(0.001)
    assert (train.words, train.vocabulary, train.out_of_vocabulary) == (8, 6, 0)
    assert (dev.words, dev.vocabulary) == (5, 4)
    assert (dev.out_of_vocabulary, dev.out_of_vocabulary_words) == (3, 4)  # abend twice, regnet's, nicht
    assert list(made.splits) == ["train", "dev"]
    assert made.leaks["sentence of several splits"] == 1
    assert made.table[2] == ["hours", "0.001 (1 of 2 clips)", "0.001"]
    assert made.table[-1] == ["out of vocabulary", "–", "3 (80.0%)"]


def test_characters_count_where_no_spaces_separate_words() -> None:
    clips = [clip(0, "train", "他今年4岁。"), clip(1, "test", "他 在家，OK？")]
    made = statistics_of(clips, lambda one: None, None, {})
    assert (made.unit, made.splits["train"].words, made.splits["train"].hours) == ("characters", 5, None)
    assert (made.splits["test"].words, made.splits["test"].out_of_vocabulary) == (5, 4)
    assert words_of("Wir sagen 你好 – und «Ja».", False) == ["wir", "sagen", "你", "好", "und", "ja"]


@pytest.mark.skipif(not TRAIN_TEXT.is_file(), reason="no real sentences beside the project")
def test_the_real_sentences_of_phoenix14t_give_the_published_vocabulary() -> None:
    lines = TRAIN_TEXT.read_text(encoding="utf-8").splitlines()
    made = statistics_of([clip(n, "train", one) for n, one in enumerate(lines)], lambda one: None, False, {})
    assert (made.splits["train"].words, made.splits["train"].vocabulary) == (99_081, 2_887)


def test_hours_of_cut_ready_cut_and_counted_clips_are_in_the_table_and_no_video_is_opened_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = official.full_videos(official.how2sign(tmp_path / "h2s"))
    official.video(root / "-aa_0-8-rgb_front.mp4", 10)
    words = ("prepare", "how2sign", "--root", root, "--run", tmp_path / "run", "--config", TINY, "--json")
    found = json.loads(slt_cache(*words).out)["statistics"]
    assert found["unit"] == "words"
    assert found["splits"]["train"]["hours"] == pytest.approx(0.8 / 3600)
    assert found["splits"]["test"]["timed_clips"] == 1
    monkeypatch.setattr("slt_cache.corpora.lengths._of_header", lambda path: pytest.fail(f"{path} is opened again"))
    assert json.loads(slt_cache(*words).out)["statistics"] == found
    shown = slt_cache(*words[:-1]).out
    assert "one video under several names in different splits: 1" in shown


def test_folders_of_frames_have_hours_at_the_rate_of_their_corpus(tmp_path: Path) -> None:
    root = official.phoenix(tmp_path / "phoenix", frames_each=50)
    ran = slt_cache("prepare", "phoenix14t", "--root", root, "--run", tmp_path / "run", "--config", TINY, "--json")
    assert json.loads(ran.out)["statistics"]["splits"]["train"]["hours"] == pytest.approx(2 * 2 / 3600)
