"""The still part of a picture: background, body and head of a signer. Knows no movement.

Lengths are in 1/128 of the picture's side for a signer of size 1; `Canvas` turns them into pixels."""

from dataclasses import dataclass

from PIL import Image, ImageDraw

from slt_cache.corpora.avatar.signers import Colour, Signer, luminance, shade

SIDE = 128
"""Pixels; side of a frame."""
OVERSAMPLING = 2
"""Factor by which pictures are drawn larger and then averaged, for smooth edges."""
SHOULDERS = ((41.0, 68.0), (87.0, 68.0))
"""x, y of both shoulder joints."""
ORIGIN = (64.0, 70.0)
"""x, y of the point that size leaves in place."""
SLEEVE_SHADE = 0.80
LIPS = (150, 62, 66)
CURLS = ((47, 34), (45, 26), (49, 18), (79, 18), (83, 26), (81, 34), (56, 12), (64, 10), (72, 12))
"""x, y of the middle of each curl at the back of the head."""

Point = tuple[float, float]


@dataclass(frozen=True)
class Canvas:
    """The oversampled picture; converts figure units to its pixels."""

    size: float
    shift: Point

    @property
    def scale(self) -> float:
        """Oversampled pixels per figure unit."""
        return self.size * OVERSAMPLING

    def at(self, point: Point) -> Point:
        return (
            ((point[0] - ORIGIN[0]) * self.size + ORIGIN[0] + self.shift[0]) * OVERSAMPLING,
            ((point[1] - ORIGIN[1]) * self.size + ORIGIN[1] + self.shift[1]) * OVERSAMPLING,
        )

    def box(self, left: float, top: float, right: float, bottom: float) -> tuple[float, float, float, float]:
        return (*self.at((left, top)), *self.at((right, bottom)))

    def width(self, units: float) -> int:
        return max(1, round(units * self.scale))


def draw_limb(
    draw: ImageDraw.ImageDraw, canvas: Canvas, ends: tuple[Point, Point], width: float, colour: Colour
) -> None:
    """Draws a line with round ends and a dark edge."""
    for fill, thick in ((shade(colour, 0.55), width + 2.0), (colour, width)):
        (x0, y0), (x1, y1) = canvas.at(ends[0]), canvas.at(ends[1])
        reach = thick / 2 * canvas.scale
        draw.line((x0, y0, x1, y1), fill=fill, width=canvas.width(thick))
        draw.ellipse((x0 - reach, y0 - reach, x0 + reach, y0 + reach), fill=fill)
        draw.ellipse((x1 - reach, y1 - reach, x1 + reach, y1 + reach), fill=fill)


def draw_figure(signer: Signer, canvas: Canvas) -> Image.Image:
    """Draws background, body and head without a mouth."""
    side = SIDE * OVERSAMPLING
    image = Image.new("RGB", (side, side), signer.background)
    draw = ImageDraw.Draw(image)
    for row in range(side):  # a little darker towards the floor
        draw.line((0, row, side, row), fill=shade(signer.background, 1.04 - 0.12 * row / side))
    _hair_behind(draw, canvas, signer)
    _body(draw, canvas, signer)
    _head(draw, canvas, signer)
    _hair_in_front(draw, canvas, signer)
    return image


def _body(draw: ImageDraw.ImageDraw, canvas: Canvas, signer: Signer) -> None:
    edge = shade(signer.shirt, 0.55)
    for colour, more in ((edge, 1.0), (signer.shirt, 0.0)):
        draw.rounded_rectangle(canvas.box(37 - more, 60.5 - more, 91 + more, 190), canvas.width(11), fill=colour)
    draw.rounded_rectangle(canvas.box(57, 50, 71, 68), canvas.width(6), fill=shade(signer.skin, 0.84))
    draw.chord(canvas.box(54, 54, 74, 71), 0, 180, fill=shade(signer.skin, 0.84), outline=edge)


def _head(draw: ImageDraw.ImageDraw, canvas: Canvas, signer: Signer) -> None:
    edge = shade(signer.skin, 0.6)
    for x in (48.6, 79.4):
        draw.ellipse(canvas.box(x - 3, 34, x + 3, 42), fill=signer.skin, outline=edge)
    draw.ellipse(canvas.box(48.5, 16, 79.5, 57), fill=signer.skin, outline=edge, width=canvas.width(0.6))
    for x in (57.5, 70.5):
        draw.ellipse(canvas.box(x - 3.1, 33.5, x + 3.1, 38.1), fill=(250, 250, 250))
        draw.ellipse(canvas.box(x - 1.6, 33.7, x + 1.6, 38.0), fill=(45, 36, 36))
        draw.line(
            (*canvas.at((x - 3.6, 31)), *canvas.at((x + 3.6, 31))),
            fill=shade(signer.hair, 0.7),
            width=canvas.width(1.3),
        )
    draw.line((*canvas.at((64, 38)), *canvas.at((64.8, 43.5))), fill=edge, width=canvas.width(1.0))
    for x in (54.5, 73.5):
        red, green, blue = signer.skin
        cheek = (min(255, red + 14), round(green * 0.9), round(blue * 0.9))
        draw.ellipse(canvas.box(x - 2.6, 42, x + 2.6, 46), fill=cheek)


def _hair_behind(draw: ImageDraw.ImageDraw, canvas: Canvas, signer: Signer) -> None:
    dark = shade(signer.hair, 0.85)
    if signer.hair_style == "bun":
        draw.ellipse(canvas.box(56, 1, 72, 17), fill=dark)
    if signer.hair_style == "curly":
        for x, y in CURLS:
            draw.ellipse(canvas.box(x - 7, y - 7, x + 7, y + 7), fill=dark)
    bottom = {"bob": 56, "long": 78, "fringe": 50}.get(signer.hair_style)
    if bottom is not None:
        draw.rounded_rectangle(canvas.box(44.5, 12, 83.5, bottom), canvas.width(15), fill=dark)


def _hair_in_front(draw: ImageDraw.ImageDraw, canvas: Canvas, signer: Signer) -> None:
    line = {"short": 27.0, "bob": 25.0, "long": 24.0, "bun": 24.0, "curly": 25.0, "fringe": 30.0}
    low = line[signer.hair_style]
    left, right = canvas.at((46.5, 0))[0], canvas.at((81.5, 0))[0]
    cap = Image.new("L", (SIDE * OVERSAMPLING, SIDE * OVERSAMPLING), 0)
    mask = ImageDraw.Draw(cap)
    mask.ellipse(canvas.box(46.5, 12.5, 81.5, 56), fill=255)
    mask.rectangle((left, canvas.at((0, 40))[1], right, SIDE * OVERSAMPLING), fill=0)
    if signer.hair_style == "fringe":
        mask.rectangle(canvas.box(50.5, low, 77.5, 60), fill=0)
    else:  # a parted hairline: the forehead's round top stays free
        mask.ellipse(canvas.box(50, low - 4, 78, 76), fill=0)
    draw.bitmap((0, 0), cap, fill=signer.hair)


def draw_mouth(image: Image.Image, canvas: Canvas, signer: Signer, mouth: str) -> None:
    """Draws the mouth, which belongs to the sign, onto a copy of the figure."""
    draw = ImageDraw.Draw(image)
    lips = LIPS if luminance(signer.skin) > 110 else (190, 96, 96)
    inside = (74, 24, 28)
    y = 48.5
    if mouth == "closed":
        draw.line((*canvas.at((60.5, y)), *canvas.at((67.5, y))), fill=lips, width=canvas.width(1.5))
    elif mouth == "smile":
        draw.arc(canvas.box(58, y - 6, 70, y + 2.5), 20, 160, fill=lips, width=canvas.width(1.6))
    else:
        reach = {"open": (4.2, 3.4), "round": (2.3, 2.8), "wide": (5.4, 1.9)}[mouth]
        box = canvas.box(64 - reach[0], y - reach[1], 64 + reach[0], y + reach[1])
        draw.ellipse(box, fill=inside, outline=lips, width=canvas.width(1.1))
