"""Subtitle files for tests; all sentences are made up."""

from collections.abc import Mapping, Sequence


def vtt(cues: Sequence[tuple[str, str, str]]) -> str:
    """WebVTT with the cues, each of two times and a text."""
    return "\n".join(["WEBVTT", "", *(f"{start} --> {end}\n{text}\n" for start, end, text in cues)])


def srt(cues: Sequence[tuple[str, str, str]]) -> str:
    """SubRip with the cues, each of two times and a text."""
    return "\n".join(
        f"{number}\n{start} --> {end}\n{text}\n" for number, (start, end, text) in enumerate(cues, start=1)
    )


ROLLING = """WEBVTT
Kind: captions
Language: en

00:00:00.160 --> 00:00:02.389 align:start position:0%
~
hello<00:00:00.480><c> everyone</c><00:00:00.800><c> and</c>

00:00:02.389 --> 00:00:02.399 align:start position:0%
hello everyone and
~

00:00:02.399 --> 00:00:04.000 align:start position:0%
hello everyone and
welcome<00:00:02.720><c> back</c>

00:00:04.000 --> 00:00:04.010 align:start position:0%
welcome back
~

00:00:04.010 --> 00:00:06.000 align:start position:0%
welcome back
[Music]

00:00:09.000 --> 00:00:11.000 align:start position:0%
~
today<00:00:09.300><c> we</c><00:00:09.500><c> sign</c>
""".replace("~", " ")
"""Captions as YouTube makes them: each line is shown again above the next one, words have times."""


def eaf(
    tiers: Mapping[str, tuple[str, Sequence[tuple[int, int, str]]]], dependent: str | None = None, origin: int = 0
) -> str:
    """ELAN's file of tiers with their signer, and milliseconds and text of each annotation; `dependent` is a tier that
    annotates every annotation of the first one; `origin` is where the annotation begins in the video."""
    slots, body, number = [], [], 0
    for name, (signer, annotations) in tiers.items():
        inside = []
        for start, end, text in annotations:
            for side, time in enumerate((start, end)):
                slots.append(f'<TIME_SLOT TIME_SLOT_ID="t{number}{side}" TIME_VALUE="{time}"/>')
            ends = f'TIME_SLOT_REF1="t{number}0" TIME_SLOT_REF2="t{number}1"'
            inside.append(
                f'<ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a{number}" {ends}><ANNOTATION_VALUE>{text}'
                "</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>"
            )
            number += 1
        body.append(f'<TIER TIER_ID="{name}" PARTICIPANT="{signer}">{"".join(inside)}</TIER>')
    if dependent is not None:
        inside = [
            f'<ANNOTATION><REF_ANNOTATION ANNOTATION_ID="r{n}" ANNOTATION_REF="a{n}"><ANNOTATION_VALUE>{dependent} of '
            f"a{n}</ANNOTATION_VALUE></REF_ANNOTATION></ANNOTATION>"
            for n in range(len(next(iter(tiers.values()))[1]))
        ]
        body.append(f'<TIER TIER_ID="{dependent}">{"".join(inside)}</TIER>')
    head = f'<HEADER><MEDIA_DESCRIPTOR MEDIA_URL="file:///d.mp4" TIME_ORIGIN="{origin}"/></HEADER>'
    order = f"<TIME_ORDER>{''.join(slots)}</TIME_ORDER>"
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><ANNOTATION_DOCUMENT>{head}{order}{"".join(body)}</ANNOTATION_DOCUMENT>'
    )
