"""The drawn demo corpus: sentences, signers, splits, pictures, files."""

import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from functools import cache
from itertools import combinations
from pathlib import Path

import av
import numpy as np
import pytest

from slt_cache.config.data import CorpusConfig
from slt_cache.corpora.avatar.describe import describe, draw_sheet
from slt_cache.corpora.avatar.draw import draw_clip
from slt_cache.corpora.avatar.grammar import LANGUAGES, load_grammar, wording_file
from slt_cache.corpora.avatar.lexicon import lexicon, read_data
from slt_cache.corpora.avatar.motion import clip_poses
from slt_cache.corpora.avatar.plan import AvatarPlan, PlannedClip, plan_avatar
from slt_cache.corpora.avatar.write import write_avatar
from slt_cache.errors import InputError

SMALL = CorpusConfig(clips=20)
DIFFICULTIES = (1, 2, 3, 4)
EVERY = [(language, difficulty) for language in LANGUAGES for difficulty in DIFFICULTIES]


@cache
def plan_of(clips: int, language: str, difficulty: int) -> AvatarPlan:
    """Plans once what several tests look at; a plan is never changed."""
    return plan_avatar(CorpusConfig(clips=clips, language=language, difficulty=difficulty))


def values_of_split(plan: AvatarPlan, split: str, name: str) -> set[object]:
    return {getattr(clip, name) for clip in plan.clips if clip.split == split}


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_the_same_seed_gives_the_same_plan_and_frames(difficulty: int) -> None:
    corpus = CorpusConfig(clips=20, difficulty=difficulty)
    first, second = plan_avatar(corpus), plan_avatar(corpus)
    assert first == second
    assert draw_clip(first.clips[0]).tobytes() == draw_clip(second.clips[0]).tobytes()


def test_another_seed_gives_other_sentences_signers_and_frames() -> None:
    first, second = plan_avatar(SMALL), plan_avatar(SMALL.model_copy(update={"seed": 1}))
    assert [clip.text for clip in first.clips] != [clip.text for clip in second.clips]
    assert {clip.signer for clip in first.clips}.isdisjoint(clip.signer for clip in second.clips)
    clip = first.clips[0]
    assert not np.array_equal(draw_clip(clip)[0], draw_clip(replace(clip, seed=clip.seed + 1))[0])


def test_the_plan_does_not_depend_on_pythons_hash_seed() -> None:
    program = (
        "import hashlib; from slt_cache.config.data import CorpusConfig; "
        "from slt_cache.corpora.avatar.plan import plan_avatar; "
        "print(hashlib.sha256(repr(plan_avatar(CorpusConfig(clips=50, difficulty=2))).encode()).hexdigest())"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1


def test_the_three_languages_sign_the_same() -> None:
    german, *others = (plan_avatar(CorpusConfig(clips=50, language=language)) for language in ("de", "en", "zh"))
    for other in others:
        assert [clip.signs for clip in other.clips] == [clip.signs for clip in german.clips]


@pytest.mark.parametrize(("language", "difficulty"), EVERY)
def test_splits_share_no_sentence_no_signed_sequence_and_no_signer(language: str, difficulty: int) -> None:
    plan = plan_of(1500, language, difficulty)
    for one, other in combinations(("train", "dev", "test"), 2):
        for name in ("text", "signs", "signer"):
            assert values_of_split(plan, one, name).isdisjoint(values_of_split(plan, other, name))


@pytest.mark.parametrize(("language", "difficulty"), EVERY)
def test_monolingual_sentences_are_distinct_and_hold_none_of_dev_and_test(language: str, difficulty: int) -> None:
    plan = plan_of(1500, language, difficulty)
    assert len(set(plan.monolingual)) == len(plan.monolingual) >= 4000
    held_out = values_of_split(plan, "dev", "text") | values_of_split(plan, "test", "text")
    assert held_out.isdisjoint(plan.monolingual)


@pytest.mark.parametrize(("language", "difficulty"), EVERY)
def test_1500_clips_have_as_many_sentences(language: str, difficulty: int) -> None:
    plan = plan_of(1500, language, difficulty)
    shares = [960, 180, 360] if difficulty == 4 else [1200, 120, 180]
    assert [sum(clip.split == split for clip in plan.clips) for split in ("train", "dev", "test")] == shares
    assert len({clip.text for clip in plan.clips}) == len({clip.signs for clip in plan.clips}) == 1500
    assert len({clip.id for clip in plan.clips}) == 1500


@pytest.mark.parametrize(("language", "difficulty"), [(language, d) for language in LANGUAGES for d in (1, 3)])
def test_other_signs_have_another_sentence(language: str, difficulty: int) -> None:
    grammar = load_grammar(language, difficulty)
    sentences = {
        grammar.sentence(pattern.sequence(number)) for pattern in grammar.patterns for number in range(pattern.size)
    }
    assert len(sentences) == grammar.size


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_wording_belongs_to_one_sign(language: str) -> None:
    for file in (wording_file(language, difficulty) for difficulty in (3, 4)):
        wordings = [text for texts in read_data(file)["signs"].values() for text in texts]
        assert len(set(wordings)) == len(wordings)


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_no_two_signs_share_place_movement_and_second_hand(difficulty: int) -> None:
    signs = [lexicon().signs[name] for name in load_grammar("de", difficulty).signs]
    assert len({(sign.place, sign.movement, sign.second) for sign in signs}) == len(signs)


@pytest.mark.parametrize("language", LANGUAGES)
def test_grammar_and_lexicon_hold_the_same_signs(language: str) -> None:
    used = {name for difficulty in DIFFICULTIES for name in load_grammar(language, difficulty).signs}
    assert used == set(lexicon().signs)
    assert {sign.place for sign in lexicon().signs.values()} == set(lexicon().places)


@pytest.mark.parametrize(
    ("language", "signs", "sentence"),
    [
        ("de", "MONDAY NORTH RAIN ALL_DAY", "am montag regnet es im norden den ganzen tag"),
        ("de", "SOUTH SUN TWENTY", "im süden scheint die sonne bei warmen zwanzig grad"),
        ("en", "MONDAY NORTH RAIN ALL_DAY", "on monday it rains all day in the north"),
        ("zh", "MONDAY NORTH RAIN ALL_DAY", "星期一北部全天下雨"),
        (
            "de",
            "TODAY EAST SNOW BUT COAST SUN",
            "heute schneit es im osten aber an der küste scheint die sonne",
        ),
        ("zh", "TODAY SNOW LATER SUN", "今天下雪，随后阳光明媚"),
    ],
)
def test_a_signed_sequence_becomes_this_sentence(language: str, signs: str, sentence: str) -> None:
    assert load_grammar(language, 2).sentence(tuple(signs.split())) == sentence


def test_at_difficulty_3_the_wording_depends_on_the_neighbour() -> None:
    grammar = load_grammar("de", 3)
    in_north = grammar.sentence(("TODAY", "NORTH", "RAIN"))
    in_south = grammar.sentence(("TODAY", "SOUTH", "RAIN"))
    assert "regnet es" in in_north
    assert "fällt" in in_south


@pytest.mark.parametrize("language", LANGUAGES)
def test_at_difficulty_4_other_signs_have_another_sentence(language: str) -> None:
    """Of 60,000 drawn ones: an equal sentence could be seen in training and in the test."""
    plan = plan_avatar(CorpusConfig(clips=300, language=language, difficulty=4))
    assert len(set(plan.monolingual)) == 60_000


@pytest.mark.parametrize(
    ("language", "signs", "sentence"),
    [
        (
            "de",
            "FRIDAY COLOGNE SUN BRIEFLY",
            "im raum köln setzt sich zum ende der arbeitswoche bloß kurz die sonne durch",
        ),
        (
            "de",
            "TOMORROW FREIBURG SNOW LIGHT BUT EAST THUNDER",
            "im raum freiburg kommt im verlauf des morgigen tages leichter neuschnee dazu "
            "während es in der osthälfte gewittert",
        ),
        (
            "de",
            "TOMORROW NORTH RAIN LIGHT TENS_TWO UNIT_TWO",
            "in der nordhälfte gibt es schon morgen schwachen niederschlag bei zweiundzwanzig grad",
        ),
        ("en", "WEDNESDAY MUNICH SUN STRONG", "on wednesday there is brilliant sunshine around munich"),
        ("zh", "MUNICH RAIN STRONG BRIEFLY TENS_ONE UNIT_ONE", "伊萨尔河畔短时间内下强雨，气温不超过十一度"),
    ],
)
def test_at_difficulty_4_words_agree_and_verbs_move(language: str, signs: str, sentence: str) -> None:
    assert load_grammar(language, 4).sentence(tuple(signs.split())) == sentence


def test_at_difficulty_4_a_wording_goes_with_a_pair_of_signs_in_train_and_in_text() -> None:
    plan = plan_of(800, "de", 4)
    grammar = load_grammar("de", 4)
    pairs = Counter(clip.signs[:2] for clip in plan.clips if clip.split == "train" and len(clip.signs) > 2)
    assert sum(count == 1 for count in pairs.values()) > 40  # seen once with a video
    after_rain = {
        grammar.sentence(("MONDAY", place, "RAIN")).split(" am ")[0] for place in lexicon().of_group("city", 3)
    }
    assert len(after_rain) > 3


def test_at_difficulty_4_knowing_the_signs_is_not_enough_and_pairs_tell_more() -> None:
    numbers = describe(CorpusConfig(clips=200, difficulty=4))
    sign, pair = (
        numbers[f"bleu4_of_{what}"] for what in ("each_signs_most_frequent_wording", "the_pairs_that_train_shows")
    )
    assert 10 < sign < pair - 10 < 90
    assert numbers["pairs_once_or_twice_in_train"] < numbers["pairs_in_train"]


def test_at_difficulty_4_the_first_signs_of_a_group_come_often_and_the_last_seldom() -> None:
    plan = plan_of(800, "de", 4)
    seen = Counter(name for clip in plan.clips for name in clip.signs)
    for group in ("time", "region", "weather"):
        names = lexicon().of_group(group, 3)
        assert seen[names[0]] > 2 * seen[names[-1]] > 0


def test_at_difficulty_4_train_words_make_up_most_of_test_and_not_all() -> None:
    plan = plan_of(800, "de", 4)
    train = Counter(word for clip in plan.clips if clip.split == "train" for word in clip.text.split())
    text = {word for sentence in plan.monolingual for word in sentence.split()}
    assert len(text) > 300
    assert 0 < len(text - train.keys()) < 0.2 * len(text)
    assert {word for clip in plan.clips for word in clip.text.split()} <= text


def test_too_many_clips_are_refused_with_the_largest_number() -> None:
    with pytest.raises(InputError, match="has enough for") as refusal:
        plan_avatar(CorpusConfig(clips=100_000))
    largest = int(str(refusal.value).split("has enough for ")[1].split()[0])
    assert largest > 19_000
    assert len(plan_avatar(CorpusConfig(clips=largest)).clips) == largest
    with pytest.raises(InputError):
        plan_avatar(CorpusConfig(clips=largest + 20))


def test_training_sentences_come_again_where_the_grammar_has_no_more() -> None:
    plan = plan_avatar(CorpusConfig(clips=15_000))
    train = [clip.text for clip in plan.clips if clip.split == "train"]
    assert len(set(train)) < len(train) == 12_000
    assert values_of_split(plan, "train", "text").isdisjoint(values_of_split(plan, "test", "text"))


def test_test_signers_lie_within_the_ranges_of_the_train_signers() -> None:
    plan = plan_avatar(CorpusConfig(clips=200))
    for name in ("size", "tempo"):
        train = [getattr(clip.signer, name) for clip in plan.clips if clip.split == "train"]
        test = [getattr(clip.signer, name) for clip in plan.clips if clip.split == "test"]
        assert min(train) <= min(test) <= max(test) <= max(train)


def test_hands_move_smoothly() -> None:
    for clip in plan_avatar(CorpusConfig(clips=200, difficulty=2)).clips:
        poses = clip_poses(clip)
        places = np.array([(pose.first.x, pose.first.y) for pose in poses])
        assert np.abs(np.diff(places, axis=0)).max() < 64  # half a picture, in the longest transition


@pytest.mark.parametrize("workers", [1, 2])
def test_a_written_video_holds_the_drawn_frames_at_25_a_second(tmp_path: Path, workers: int) -> None:
    plan = plan_avatar(SMALL)
    seen: list[tuple[int, int]] = []
    clips = write_avatar(SMALL, tmp_path, progress=lambda done, of: seen.append((done, of)), workers=workers)
    assert [clip.id for clip in clips] == [clip.id for clip in plan.clips]
    assert seen[-1] == (20, 20)
    assert (tmp_path / "monolingual.txt").read_text(encoding="utf-8").splitlines() == list(plan.monolingual)
    assert not list(tmp_path.rglob("*.tmp"))
    with av.open(str(clips[0].video)) as container:
        stream = container.streams.video[0]
        assert stream.average_rate == 25
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(stream)])
    drawn = draw_clip(plan.clips[0])
    assert frames.shape == drawn.shape
    assert np.abs(frames.astype(int) - drawn).mean() < 6  # of 255: lossy, but the same picture


def test_the_number_of_workers_does_not_change_the_bytes(tmp_path: Path) -> None:
    one = write_avatar(SMALL, tmp_path / "one", workers=1)
    two = write_avatar(SMALL, tmp_path / "two", workers=2)
    assert [clip.video.read_bytes() for clip in one] == [clip.video.read_bytes() for clip in two]


def test_a_rerun_writes_only_the_missing_videos(tmp_path: Path) -> None:
    clips = write_avatar(SMALL, tmp_path, workers=1)
    before = clips[3].video.read_bytes()
    clips[3].video.unlink()
    times = {clip.id: clip.video.stat().st_mtime_ns for clip in clips if clip.video.exists()}
    seen: list[tuple[int, int]] = []
    again = write_avatar(SMALL, tmp_path, progress=lambda done, of: seen.append((done, of)), workers=1)
    assert again == clips
    assert seen == [(20, 20)]
    assert clips[3].video.read_bytes() == before
    assert all(clip.video.stat().st_mtime_ns == times[clip.id] for clip in clips if clip.id in times)


def test_an_interrupt_leaves_no_half_video(tmp_path: Path) -> None:
    def interrupt(done: int, of: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_avatar(CorpusConfig(clips=60), tmp_path, progress=interrupt, workers=2)
    videos = list((tmp_path / "videos").iterdir())
    assert 0 < len(videos) < 60
    assert all(video.suffix == ".mp4" for video in videos)
    assert len(write_avatar(CorpusConfig(clips=60), tmp_path, workers=1)) == 60


def test_a_folder_of_other_settings_is_refused(tmp_path: Path) -> None:
    write_avatar(SMALL, tmp_path, workers=1)
    with pytest.raises(InputError, match="language: folder de, run en, seed: folder 0, run 3"):
        write_avatar(SMALL.model_copy(update={"language": "en", "seed": 3}), tmp_path, workers=1)


def test_a_folder_with_videos_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "holiday.mp4").touch()
    with pytest.raises(InputError, match=r"no corpus\.json"):
        write_avatar(SMALL, tmp_path, workers=1)


def test_the_description_counts_signs_words_and_sentences(tmp_path: Path) -> None:
    numbers = describe(CorpusConfig(clips=300))
    assert numbers["signs"] == 27
    assert numbers["distinct_sentences"] == 7700
    assert 36 <= numbers["mean_frames_per_clip"] <= 48
    draw_sheet(SMALL, tmp_path / "signs.png")
    assert (tmp_path / "signs.png").stat().st_size > 10_000


def test_a_frame_shows_another_picture_for_another_sign() -> None:
    signer = plan_avatar(SMALL).clips[0].signer
    middles = {}
    for name in lexicon().signs:
        frames = draw_clip(PlannedClip(name, "train", (name,), "", signer, seed=1))
        small = frames.reshape(len(frames), 32, 4, 32, 4, 3).mean(axis=(2, 4))  # 32 x 32, as the encoder sees it
        middles[name] = small[8:11].mean(axis=0)
    for one, other in combinations(middles, 2):
        assert np.abs(middles[one] - middles[other]).mean() > 1.5, (one, other)
