"""The clips of one evaluation as rows of a table: sentences compared, frames, and where each word looked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from markupsafe import Markup

from slt_cache.config import VideoConfig
from slt_cache.corpora.base import Clip
from slt_cache.metrics.presets import PRESETS
from slt_cache.progress import log, progress_counter
from slt_cache.report.attention_maps import read_cross_attention
from slt_cache.report.frames_seen import seen_frames
from slt_cache.report.sentence_diff import Piece, compare, cut, has_words, sentence_scores
from slt_cache.report.strips import MOST_FRAMES, Filmstrip, draw_filmstrip, draw_weights, full_weight
from slt_cache.report.template import render_part
from slt_cache.runs.evaluations import Evaluation
from slt_cache.runs.run import Run
from slt_cache.video.chunks import ClipView, PieceReader
from slt_cache.video.stream import UnreadableVideo

if TYPE_CHECKING:
    from slt_cache.decoding.attention import WordAttention

FIRST = 5
"""Rows of the best, and then of the worst, before all others."""
MOST_ROWS = 2000
"""A page of more is of no use to anyone; the middle is left out."""

REST_OF_PICTURE = 1200
"""Bytes that the markup, the words and the map of a clip take beside its filmstrip, roughly."""


@dataclass(frozen=True)
class Row:
    """One clip."""

    clip_id: str
    reference: str
    lines: Mapping[str, list[Piece]]
    """Of each model shown, the hypothesis compared to the reference."""
    score: float
    """Sentence BLEU, 0..100."""
    words: int
    """Of the hypothesis; characters of Chinese."""
    exact: bool
    group: str
    """best, worst, or empty for the others."""
    steps: int | None = None
    """N in the cache, else T' of the video."""
    picture: Markup = field(default_factory=Markup)
    """Filmstrip and attention."""


@dataclass(frozen=True)
class Clips:
    """All that the table and the words above it say."""

    rows: list[Row]
    """The best, the worst, then the others from good to bad."""
    model: str
    beside: str | None
    """Another model, whose sentences are shown too."""
    split: str
    tokenizer: str
    unit: str
    """What `Row.words` counts, as a table's head."""
    clips: int
    """Of the evaluation; the table may have fewer rows."""
    exact: int
    """Sentences equal to their reference to the letter."""
    pictured: int = 0
    """Rows that there was room for the pictures of."""
    without_video: tuple[str, ...] = ()
    """Of these, the clips whose videos cannot be read."""
    without_attention: str = ""
    """Sentence that says why there is none, or not of all; empty where every picture has it."""

    @property
    def has_pictures(self) -> bool:
        return any(row.picture for row in self.rows)

    @property
    def notices(self) -> list[str]:
        """What the table does not show, and why."""
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
    """Rows, without pictures, of the model that the run is about; None without an evaluation."""
    with_table = [one for one in evaluations if one.has_sentences]
    if not with_table:
        return None
    of_model = {one.model: one for one in with_table if one.split == with_table[0].split}
    shown = of_model.get("llm", with_table[0])
    beside = of_model["visual"] if shown.model != "visual" and "visual" in of_model else None
    other = {one.clip_id: one.hypothesis for one in beside.sentences()} if beside else {}
    sentences = shown.sentences()
    scores = sentence_scores(shown, sentences)
    rows = []
    for index, group in _ordered(scores):
        sentence = sentences[index]
        lines = {shown.short_name: compare(sentence.reference, sentence.hypothesis)}
        if beside and sentence.clip_id in other:
            lines[beside.short_name] = compare(sentence.reference, other[sentence.clip_id])
        exact = sentence.reference == sentence.hypothesis
        words = len(cut(sentence.hypothesis, sentence.reference))
        rows.append(Row(sentence.clip_id, sentence.reference, lines, scores[index], words, exact, group))
    return shown, Clips(
        rows=rows,
        model=shown.short_name,
        beside=beside.short_name if beside else None,
        split=shown.split,
        tokenizer=PRESETS[shown.preset].bleu_tokenize,
        unit="words" if any(has_words(one.reference) for one in sentences) else "chars",
        clips=len(sentences),
        exact=sum(one.reference == one.hypothesis for one in sentences),
    )


def _ordered(scores: Sequence[float]) -> list[tuple[int, str]]:
    """Indices and groups of the rows: best, worst, then the others from good to bad; equal scores in the order of the
    split. What is as good as the best is not among the worst, however few there are."""
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


def with_pictures(run: Run, evaluation: Evaluation, clips: Clips, manifest: Mapping[str, Clip], room: int) -> Clips:
    """The rows with their pictures, as far as these take no more than `room` bytes of the page: those of the highest
    and of the lowest score first. No video is read once there is no room."""
    sentences = {one.clip_id: one for one in evaluation.sentences()}
    cross_attention = read_cross_attention(run, evaluation, [sentences[row.clip_id] for row in clips.rows])
    if cross_attention.missing:
        log(f"report: {cross_attention.missing}")
    rows = [_with_steps(row, cross_attention.of_clip.get(row.clip_id)) for row in clips.rows]
    share = room // max(len(rows), 1) - REST_OF_PICTURE
    gone: list[str] = []
    tried = 0
    with progress_counter("report: frames of clips", len(rows), 0) as show:
        for place in _from_both_ends(rows):
            clip_id = rows[place].clip_id
            strip = _filmstrip(manifest.get(clip_id), run.config.video, share)
            picture = _picture(clip_id, strip, cross_attention.of_clip.get(clip_id))
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
        without_attention=cross_attention.missing,
    )


def _with_steps(row: Row, attention: "WordAttention | None") -> Row:
    return row if attention is None else replace(row, steps=attention.weights.shape[1])


def _from_both_ends(rows: Sequence[Row]) -> list[int]:
    """Places of the rows: highest score, lowest, second highest, second lowest ..."""
    order = sorted(range(len(rows)), key=lambda place: -rows[place].score)
    return [order[number // 2] if number % 2 == 0 else order[-1 - number // 2] for number in range(len(order))]


def _filmstrip(clip: Clip | None, video: VideoConfig, most_bytes: int) -> Filmstrip | None:
    """None where the video cannot be read, any more or at all."""
    if clip is None:
        return None
    try:
        return draw_filmstrip(seen_frames(PieceReader(video).events(ClipView(clip))), most_bytes)
    except (UnreadableVideo, OSError):
        return None


def _picture(clip_id: str, strip: Filmstrip | None, attention: "WordAttention | None") -> Markup:
    """Empty where there is neither."""
    words = attention.words if attention else ()
    if strip is None and not words:
        return Markup()
    return render_part(
        "clips.html.jinja",
        "picture",
        clip=clip_id,
        strip=strip,
        words=words,
        weights=draw_weights(attention.weights) if attention and words else None,
        full=full_weight(attention.weights) if attention and words else 0.0,
        columns=strip.shown if strip else min(attention.weights.shape[1], MOST_FRAMES) if attention else 1,
    )
