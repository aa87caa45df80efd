"""The signers: a corpus seed in, drawn people out, different ones for each split. Draws no picture.

Dev and test signers lie within the ranges that the train signers span, but are other combinations: a model must
generalize to new people, not to new kinds of people."""

import colorsys
from dataclasses import dataclass
from random import Random

Colour = tuple[int, int, int]

SIGNERS = {"train": 12, "dev": 3, "test": 4}
"""People in each split."""
HAIR_STYLES = ("short", "bob", "long", "bun", "curly", "fringe")
SKINS = ((246, 213, 186), (229, 184, 146), (198, 144, 103), (150, 101, 68), (105, 68, 47))
"""Light to dark; in between is interpolated."""
HAIRS = ((222, 184, 112), (163, 92, 48), (96, 62, 42), (40, 32, 32), (150, 148, 146))
LIGHT_SKIN = 150.0
"""Luminance of 255; lighter skin gets a dark shirt and darker skin a light one, so that hands stand out."""


@dataclass(frozen=True)
class Signer:
    """The looks and movements of a person."""

    name: str
    skin: Colour
    hair: Colour
    hair_style: str
    shirt: Colour
    background: Colour
    size: float
    """Relative to the picture; 1 is the figure of lexicon.yaml."""
    shift: tuple[float, float]
    """x, y in 1/128 of the picture's side."""
    tempo: float
    """Relative tempo; 1.1 signs a tenth faster."""


def make_signers(seed: int) -> dict[str, list[Signer]]:
    """Returns the signers of each split."""
    random = Random(f"{seed}/signers")
    total = sum(SIGNERS.values())
    columns = [_spread(random, total) for _ in range(9)]
    styles = [HAIR_STYLES[index % len(HAIR_STYLES)] for index in range(SIGNERS["train"])]
    styles += [random.choice(HAIR_STYLES) for _ in range(total - len(styles))]
    rows = iter(zip(styles, *columns, strict=True))
    return {
        split: [_signer(f"{split}-{number:02d}", *next(rows)) for number in range(count)]
        for split, count in SIGNERS.items()
    }


def _spread(random: Random, total: int) -> list[float]:
    """Returns values from 0 to 1: those of the train signers evenly spread from end to end, those of the others in
    between."""
    count = SIGNERS["train"]
    spread = [index / (count - 1) for index in range(count)]
    random.shuffle(spread)
    return spread + [random.uniform(0.08, 0.92) for _ in range(total - count)]


def _signer(name: str, style: str, *values: float) -> Signer:
    skin_tone, hair_tone, hue, depth, wall_hue, wall_light, size, shift, tempo = values
    skin = _between(SKINS, skin_tone)
    lightness = 0.20 + 0.12 * depth if luminance(skin) > LIGHT_SKIN else 0.76 + 0.12 * depth
    return Signer(
        name=name,
        skin=skin,
        hair=_between(HAIRS, hair_tone),
        hair_style=style,
        shirt=_hls(0.40 + 0.42 * hue, lightness, 0.55),  # green over blue to violet: no skin has these
        background=_hls(0.42 + 0.30 * wall_hue, 0.60 + 0.18 * wall_light, 0.16),
        size=0.95 + 0.09 * size,
        shift=(-4.0 + 8.0 * shift, 0.0),
        tempo=0.92 + 0.16 * tempo,
    )


def luminance(colour: Colour) -> float:
    """Returns the luminance, 0 to 255 (ITU-R BT.601)."""
    red, green, blue = colour
    return 0.299 * red + 0.587 * green + 0.114 * blue


def shade(colour: Colour, factor: float) -> Colour:
    """Returns a darker (factor < 1) or lighter (factor > 1) colour."""
    red, green, blue = (min(255, round(channel * factor)) for channel in colour)
    return red, green, blue


def _between(colours: tuple[Colour, ...], tone: float) -> Colour:
    position = tone * (len(colours) - 1)
    index = min(int(position), len(colours) - 2)
    part = position - index
    low, high = colours[index], colours[index + 1]
    red, green, blue = (round(a + (b - a) * part) for a, b in zip(low, high, strict=True))
    return red, green, blue


def _hls(hue: float, lightness: float, saturation: float) -> Colour:
    red, green, blue = (round(255 * channel) for channel in colorsys.hls_to_rgb(hue, lightness, saturation))
    return red, green, blue
