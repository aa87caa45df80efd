"""The clips of one evaluation as rows of a table: compared sentences, frames and attention."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from markupsafe import Markup

from slt_cache.config import VideoConfig
from slt_cache.corpora.base import Clip
from slt_cache.features.file import CacheFile
from slt_cache.metrics.grounding import SentenceEvidence
from slt_cache.metrics.presets import PRESETS
from slt_cache.progress import log, progress_counter
from slt_cache.report.attention_maps import read_cross_attention
from slt_cache.report.sentence_diff import Segment, compare, has_words, sentence_scores, tokenize
from slt_cache.report.strips import MOST_FRAMES, Filmstrip, draw_filmstrip, draw_weights, full_weight, seen_frames
from slt_cache.report.template import render_part
from slt_cache.runs.evaluations import Evaluation
from slt_cache.runs.run import Run
from slt_cache.video.chunks import ChunkReader, ClipView
from slt_cache.video.stream import UnreadableVideo

if TYPE_CHECKING:
    from slt_cache.decoding.attention import WordAttention

FIRST = 5
"""Number of best, and of worst, rows that precede all others."""
MOST_ROWS = 2000
"""Largest number of rows; those in the middle are left out."""

REST_OF_PICTURE = 1200
"""Approximate bytes of the markup, words and attention map of a clip, without its filmstrip."""


@dataclass(frozen=True)
class Row:
    """One clip."""

    clip_id: str
    reference: str
    lines: Mapping[str, list[Segment]]
    """Hypothesis of each model, compared with the reference."""
    score: float
    """Sentence BLEU, 0..100."""
    words: int
    """Words of the hypothesis; characters in Chinese."""
    exact: bool
    group: str
    """best, worst, or empty for the others."""
    steps: int | None = None
    """N in the cache, else T' of the video."""
    picture: Markup = field(default_factory=Markup)
    """Filmstrip and attention."""
    evidence: SentenceEvidence | None = None
    """Evidence of the video for the hypothesis, if it was measured."""


@dataclass(frozen=True)
class Clips:
    """Content of the table and of the text above it."""

    rows: list[Row]
    """Rows: the best, the worst, then the others from best to worst."""
    model: str
    second_model: str | None
    """Another model whose sentences are shown."""
    split: str
    tokenizer: str
    unit: str
    """Unit of `Row.words`, for the table's head."""
    clips: int
    """Clips of the evaluation; the table may have fewer rows."""
    exact: int
    """Number of sentences that equal their reference exactly."""
    pictured: int = 0
    """Number of rows whose pictures fit into the page."""
    without_video: tuple[str, ...] = ()
    """Those of these clips whose videos cannot be read."""
    attention: str = "cross-attention"
    """What the attention of words to the video is called."""
    without_attention: str = ""
    """Sentence that explains why attention is missing, for all or for some clips; empty if it is complete."""

    @property
    def has_evidence(self) -> bool:
        return any(row.evidence for row in self.rows)

    @property
    def has_pictures(self) -> bool:
        return any(row.picture for row in self.rows)

    @property
    def notices(self) -> list[str]:
        """Returns what the table does not show, and why."""
        found = []
        if len(self.rows) < self.clips:
            found.append(f"The table has the best and the worst {len(self.rows):,} of {self.clips:,} clips.")
        if self.pictured < len(self.rows):
            found.append(
                f"{self.pictured:,} of {len(self.rows):,} clips have pictures, those of the highest and of the lowest "
                "BLEU; the others were left out to keep this page under 5 MB."
            )
        if self.without_video:
            gone = len(self.without_video)
            some = "None of the videos" if gone == self.pictured else f"{gone:,} of {self.pictured:,} videos"
            verb = "could be read" if gone == self.pictured else "could not be read"
            found.append(f"{some} {verb} when this page was made; these clips are shown without frames.")
        if self.without_attention:
            found.append(self.without_attention)
        return found


def read_clips(run: Run, evaluations: Sequence[Evaluation]) -> tuple[Evaluation, Clips] | None:
    """Returns the rows, without pictures, of the run's main model; None without an evaluation."""
    with_table = [one for one in evaluations if one.has_sentences]
    if not with_table:
        return None
    of_model = {one.model: one for one in with_table if one.split == with_table[0].split}
    shown = of_model.get("llm", with_table[0])
    second = of_model["visual"] if shown.model != "visual" and "visual" in of_model else None
    other = {one.clip_id: one.hypothesis for one in second.sentences()} if second else {}
    sentences = shown.sentences()
    scores = sentence_scores(shown, sentences)
    rows = []
    for index, group in _ordered(scores):
        sentence = sentences[index]
        lines = {shown.short_name: compare(sentence.reference, sentence.hypothesis)}
        if second and sentence.clip_id in other:
            lines[second.short_name] = compare(sentence.reference, other[sentence.clip_id])
        exact = sentence.reference == sentence.hypothesis
        words = len(tokenize(sentence.hypothesis, sentence.reference))
        rows.append(Row(sentence.clip_id, sentence.reference, lines, scores[index], words, exact, group))
    return shown, Clips(
        rows=rows,
        model=shown.short_name,
        second_model=second.short_name if second else None,
        split=shown.split,
        tokenizer=PRESETS[shown.preset].bleu_tokenize,
        unit="words" if any(has_words(one.reference) for one in sentences) else "chars",
        clips=len(sentences),
        exact=sum(one.reference == one.hypothesis for one in sentences),
    )


def _ordered(scores: Sequence[float]) -> list[tuple[int, str]]:
    """Returns indices and groups of the rows: best, worst, then the others from best to worst; equal scores in the
    order of the split. Rows as good as the best are not among the worst, however few there are."""
    order = sorted(range(len(scores)), key=lambda index: -scores[index])
    if len(order) > MOST_ROWS:
        order = [*order[: MOST_ROWS // 2], *order[-(MOST_ROWS // 2) :]]
    size = min(FIRST, -(-len(order) // 3))
    best = order[:size]
    worst = [index for index in order[size:][-size:] if scores[index] < scores[best[-1]]]
    others = order[size : len(order) - len(worst)]
    return [
        *((index, "best") for index in best),
        *((index, "worst") for index in reversed(worst)),
        *((index, "") for index in others),
    ]


def with_evidence(clips: Clips, of_clip: Mapping[str, SentenceEvidence]) -> Clips:
    """Adds the evidence of the video to the rows."""
    return replace(clips, rows=[replace(row, evidence=of_clip.get(row.clip_id)) for row in clips.rows])


def with_pictures(
    run: Run,
    cache: CacheFile | str,
    evaluation: Evaluation,
    clips: Clips,
    manifest: Mapping[str, Clip],
    room: int,
) -> Clips:
    """Adds pictures to the rows, up to `room` bytes, for the highest and the lowest scores first. No video is read when
    there is no room left."""
    sentences = {one.clip_id: one for one in evaluation.sentences()}
    cross_attention = read_cross_attention(run, cache, evaluation, [sentences[row.clip_id] for row in clips.rows])
    if cross_attention.missing:
        log(f"report: {cross_attention.missing}")
    rows = [_with_steps(row, cross_attention.of_clip.get(row.clip_id)) for row in clips.rows]
    share = room // max(len(rows), 1) - REST_OF_PICTURE
    gone: list[str] = []
    tried = 0
    video = run.config.video.model_copy(update={"decoder": "auto"})  # a report needs no package of its run
    with progress_counter("report: frames of clips", len(rows), 0) as show:
        for place in _from_both_ends(rows):
            clip_id = rows[place].clip_id
            strip = _filmstrip(manifest.get(clip_id), video, share)
            picture = draw_picture(clip_id, strip, cross_attention.of_clip.get(clip_id), cross_attention.name)
            room -= len(picture.encode())
            if room < 0:
                break
            if strip is None:
                gone.append(clip_id)
            steps = rows[place].steps or (strip.kept if strip else None)
            rows[place] = replace(rows[place], steps=steps, picture=picture)
            tried += 1
            show(tried)
    if gone:
        named = ", ".join(map(repr, gone[:3])) + (" and others" if len(gone) > 3 else "")
        log(f"report: {len(gone):,} of {tried:,} videos cannot be read, such as {named}; shown without frames.")
    return replace(
        clips,
        rows=rows,
        pictured=tried,
        without_video=tuple(gone),
        attention=cross_attention.name,
        without_attention=cross_attention.missing,
    )


def _with_steps(row: Row, attention: "WordAttention | None") -> Row:
    return row if attention is None else replace(row, steps=attention.weights.shape[1])


def _from_both_ends(rows: Sequence[Row]) -> list[int]:
    """Returns the places of the rows: highest score, lowest, second highest, second lowest ..."""
    order = sorted(range(len(rows)), key=lambda place: -rows[place].score)
    return [order[number // 2] if number % 2 == 0 else order[-1 - number // 2] for number in range(len(order))]


def _filmstrip(clip: Clip | None, video: VideoConfig, most_bytes: int) -> Filmstrip | None:
    """Draws the filmstrip of a clip; None if its video cannot be read."""
    if clip is None:
        return None
    try:
        return draw_filmstrip(seen_frames(ChunkReader(video).events(ClipView(clip))), most_bytes)
    except (UnreadableVideo, OSError):
        return None


def draw_picture(
    clip_id: str, strip: Filmstrip | None, attention: "WordAttention | None", name: str = "attention"
) -> Markup:
    """Renders filmstrip and attention, which is called `name`; empty if there is neither."""
    words = attention.words if attention else ()
    if strip is None and not words:
        return Markup()
    return render_part(
        "clips.html.jinja",
        "picture",
        clip=clip_id,
        strip=strip,
        words=words,
        attention=name,
        weights=draw_weights(attention.weights) if attention and words else None,
        full=full_weight(attention.weights) if attention and words else 0.0,
        columns=strip.shown if strip else min(attention.weights.shape[1], MOST_FRAMES) if attention else 1,
    )
