"""Prints the contents of one setting of the demo corpus; draws a sheet of its signs on request. Writes nothing else.

python -m slt_cache.corpora.avatar.describe --language de --difficulty 1 --sheet signs.png"""

import argparse
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import log2
from pathlib import Path
from statistics import mean

import numpy as np
from PIL import Image
from sacrebleu import corpus_bleu

from slt_cache.config.data import CorpusConfig
from slt_cache.corpora.avatar.draw import draw_clip
from slt_cache.corpora.avatar.grammar import LANGUAGES, load_grammar
from slt_cache.corpora.avatar.motion import clip_poses
from slt_cache.corpora.avatar.plan import AvatarPlan, PlannedClip, plan_avatar
from slt_cache.corpora.avatar.rich_wording import RichWording, pick
from slt_cache.corpora.avatar.signers import make_signers
from slt_cache.errors import SltCacheError

SHEET_COLUMNS = 3
"""Signs side by side on a sheet."""
SHEET_MOMENTS = (0.38, 0.50, 0.60, 0.70)
"""Moments of a one-sign clip that are shown, as shares of its length."""


SELDOM = 5
"""A word with fewer occurrences in train than this is rare."""


def words(text: str, language: str) -> list[str]:
    """Returns words, or characters for Chinese."""
    return list(text) if language == "zh" else text.split()


def describe(corpus: CorpusConfig) -> dict[str, float]:
    """Returns the corpus in numbers."""
    grammar = load_grammar(corpus.language, corpus.difficulty)
    plan = plan_avatar(corpus)
    sentences = [clip.text for clip in plan.clips] + list(plan.monolingual)
    train = {clip.text for clip in plan.clips if clip.split == "train"}
    in_train = Counter(word for text in train for word in words(text, corpus.language))
    return {
        "signs": len(grammar.signs),
        "words": len({word for text in sentences for word in words(text, corpus.language)}),
        "distinct_sentences": grammar.size,
        "clips": len(plan.clips),
        "distinct_train_sentences": len(train),
        "monolingual_sentences": len(plan.monolingual),
        "mean_signs_per_clip": round(mean(len(clip.signs) for clip in plan.clips), 2),
        "share_of_clips_up_to_3_signs": round(mean(len(clip.signs) <= 3 for clip in plan.clips), 2),
        "mean_words_per_clip": round(mean(len(words(clip.text, corpus.language)) for clip in plan.clips), 2),
        "entropy_bits_a_word": round(_entropy(plan.monolingual, corpus.language, given=0), 2),
        "entropy_bits_a_word_after_one": round(_entropy(plan.monolingual, corpus.language, given=1), 2),
        "entropy_bits_a_word_after_two": round(_entropy(plan.monolingual, corpus.language, given=2), 2),
        "share_of_train_words_that_are_seldom": round(mean(count < SELDOM for count in in_train.values()), 2),
        "mean_frames_per_clip": round(mean(len(clip_poses(clip)) for clip in plan.clips), 1),
        **(_guesses(grammar.wording, plan) if isinstance(grammar.wording, RichWording) else {}),
    }


def _guesses(wording: RichWording, plan: AvatarPlan) -> dict[str, float]:
    """Returns the test BLEU-4 of an oracle that recognizes every sign and picks its most frequent training wording:
    over all contexts, or given this neighbour if train has the pair."""
    of_sign: dict[tuple[int, str], Counter[int]] = defaultdict(Counter)
    of_pair: dict[tuple[str, ...], Counter[int]] = defaultdict(Counter)

    def seen(count: int, *names: str) -> int:
        found = pick(count, *names)
        of_sign[count, names[0]][found] += 1
        of_pair[names][found] += 1
        return found

    def by_sign(count: int, *names: str) -> int:
        return max(range(count), key=lambda choice: of_sign[count, names[0]][choice])

    def by_pair(count: int, *names: str) -> int:
        return of_pair[names].most_common(1)[0][0] if names in of_pair else by_sign(count, *names)

    def worded(split: str, how: Callable[..., int]) -> list[str]:
        guessing = replace(wording, pick=how)
        return [guessing.sentence(clip.signs) for clip in plan.clips if clip.split == split]

    worded("train", seen)
    references = worded("test", pick)
    sign, pair = (corpus_bleu(worded("test", how), [references]).score for how in (by_sign, by_pair))
    return {
        "pairs_in_train": len(of_pair),
        "pairs_once_or_twice_in_train": sum(counts.total() <= 2 for counts in of_pair.values()),
        "bleu4_of_each_signs_most_frequent_wording": round(sign, 1),
        "bleu4_of_the_pairs_that_train_shows": round(pair, 1),
    }


def _entropy(sentences: Sequence[str], language: str, given: int) -> float:
    """Returns the entropy, in bits, of the next word (or end) of the sentences without a video, given this many
    previous words. It is an empirical estimate, too low if there are many contexts for few sentences."""
    contexts: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
    for sentence in sentences:
        line = [*[""] * given, *words(sentence, language), ""]
        for place in range(given, len(line)):
            contexts[tuple(line[place - given : place])][line[place]] += 1
    total = sum(counts.total() for counts in contexts.values())
    return (
        -sum(count * log2(count / counts.total()) for counts in contexts.values() for count in counts.values()) / total
    )


def draw_sheet(corpus: CorpusConfig, path: Path) -> None:
    """Draws a picture with four moments of every sign, each sign by another signer."""
    names = load_grammar(corpus.language, corpus.difficulty).signs
    people = [signer for signers in make_signers(corpus.seed).values() for signer in signers]
    rows = []
    for index, name in enumerate(names):
        clip = PlannedClip(name, "train", (name,), "", people[index % len(people)], corpus.seed)
        frames = draw_clip(clip)
        rows.append(np.concatenate([frames[int(share * len(frames))] for share in SHEET_MOMENTS], axis=1))
    rows += [np.full_like(rows[0], 255)] * (-len(rows) % SHEET_COLUMNS)
    columns = [np.concatenate(rows[start::SHEET_COLUMNS]) for start in range(SHEET_COLUMNS)]
    Image.fromarray(np.concatenate(columns, axis=1)).save(path)


def examples(plan: AvatarPlan, count: int = 5) -> list[str]:
    """Returns signed sequences with their sentences."""
    return [f"{' '.join(clip.signs)}  ->  {clip.text}" for clip in plan.clips[:count]]


def main() -> None:
    parser = argparse.ArgumentParser(description="The demo corpus in numbers.")
    parser.add_argument("--language", choices=LANGUAGES, default="de")
    parser.add_argument("--difficulty", type=int, choices=(1, 2, 3, 4), default=1)
    parser.add_argument("--clips", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sheet", type=Path, help="a PNG file to draw the signs into")
    given = parser.parse_args()
    if given.clips < 20 or given.seed < 0:
        parser.error("--clips must be at least 20, --seed at least 0")
    corpus = CorpusConfig(clips=given.clips, language=given.language, difficulty=given.difficulty, seed=given.seed)
    try:
        for key, value in describe(corpus).items():
            print(f"{key:30} {value:g}")
    except SltCacheError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    print("\n".join(examples(plan_avatar(corpus))))
    if given.sheet is not None:
        draw_sheet(corpus, given.sheet)
        print(f"signs drawn: {given.sheet}")


if __name__ == "__main__":
    main()
