"""Hand pictures: shape, palm turn and skin in; a small transparent picture out, fingers up. Knows no clip."""

import math

from PIL import Image, ImageDraw

from slt_cache.corpora.avatar.signers import Colour, shade

HAND_BOX = 44
"""Side of a hand's picture, in 1/128 of the figure's side; the hand turns about its middle."""
WRIST_Y = 13.0
"""Distance of the wrist below the middle of the picture (fingers up), in the same unit."""
PALM_Y = 5.0
"""Distance of the middle of the palm below the middle of the picture, in the same unit."""
OVERSAMPLING = 3
FINGER_WIDTH = 4.0
OUTLINE = 1.1
"""Width of the dark line around each part; keeps a hand visible in front of a face."""
KNUCKLES = (-5.1, -1.7, 1.7, 5.1)
"""x of index, middle, ring and little finger where they leave the palm; the thumb is on the index' side."""

# The four fingers: (length, degrees away from straight up), or None where bent into the palm; then the thumb.
Finger = tuple[float, float] | None
STRAIGHT = 15.0
FINGERS: dict[str, tuple[tuple[Finger, Finger, Finger, Finger], Finger]] = {
    "flat": (((14.0, -1), (STRAIGHT, 0), (14.0, 1), (12.0, 2)), (9.0, -22)),
    "spread": (((14.0, -24), (STRAIGHT, -7), (14.5, 10), (12.0, 28)), (10.5, -58)),
    "fist": ((None, None, None, None), None),
    "index": (((16.0, 0), None, None, None), None),
    "v": (((15.5, -17), (16.0, 13), None, None), None),
    "three": (((15.0, -18), (16.0, 8), None, None), (11.0, -64)),
    "thumb": ((None, None, None, None), (13.0, -40)),
    "claw": (((8.5, -26), (9.5, -8), (9.0, 10), (7.5, 28)), (8.5, -58)),
    "horns": (((15.0, -8), None, None, (13.5, 16)), None),
    "ring": ((None, (STRAIGHT, 2), (14.5, 14), (12.5, 27)), None),
}


def hand_picture(shape: str, palm: str, skin: Colour, scale: float, thumb_right: bool) -> Image.Image:
    """Draws a hand as an RGBA picture, `HAND_BOX` * scale pixels square."""
    size = round(HAND_BOX * scale)
    dark = shade(skin, 0.42)
    picture = Image.new("RGBA", (size * OVERSAMPLING, size * OVERSAMPLING), (*dark, 0))
    _Pen(picture, scale * OVERSAMPLING, skin, palm).hand(shape)
    if thumb_right != (palm == "back"):  # drawn with the thumb on the left
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    picture = picture.reduce(OVERSAMPLING)
    if palm == "side":
        narrow = picture.resize((round(size * 0.6), size))
        picture = Image.new("RGBA", (size, size), (*dark, 0))
        picture.paste(narrow, ((size - narrow.width) // 2, 0))
    return picture


class _Pen:
    """Draws in hand units around the middle of the picture."""

    def __init__(self, picture: Image.Image, scale: float, skin: Colour, palm: str) -> None:
        self.draw = ImageDraw.Draw(picture)
        self.scale = scale
        self.fill = shade(skin, 1.06) if palm == "palm" else shade(skin, 0.9)
        self.crease = shade(skin, 0.68)
        self.nail = shade(skin, 1.25)
        self.dark = shade(skin, 0.42)
        self.palm = palm

    def hand(self, shape: str) -> None:
        fingers, thumb = FINGERS[shape]
        self.capsule((0, PALM_Y + 2), (0, WRIST_Y + 3), 9.5)
        for x, finger in zip(KNUCKLES, fingers, strict=True):
            if finger is not None:
                self.finger((x, PALM_Y - 4), finger, FINGER_WIDTH)
        self.box((-7.6, PALM_Y - 6.5, 7.6, PALM_Y + 7.0), 4.5)
        for x, finger in zip(KNUCKLES, fingers, strict=True):
            if finger is None:
                self.capsule((x, PALM_Y - 6.0), (x, PALM_Y - 2.0), FINGER_WIDTH)
        if self.palm == "palm":
            self.line((-5.5, PALM_Y + 1.2), (5.0, PALM_Y - 0.2))
        if shape == "ring":
            self.ring()
        elif thumb is None:
            self.capsule((-6.5, PALM_Y + 3), (1.5, PALM_Y + 0.5), FINGER_WIDTH)
        else:
            self.finger((-6.0, PALM_Y + 2.5), thumb, FINGER_WIDTH + 0.6)

    def finger(self, start: tuple[float, float], finger: tuple[float, float], width: float) -> None:
        length, degrees = finger
        angle = math.radians(degrees)
        end = (start[0] + length * math.sin(angle), start[1] - length * math.cos(angle))
        self.capsule(start, end, width)
        if self.palm == "back":
            self.disc(end, width * 0.28, self.nail)

    def capsule(self, start: tuple[float, float], end: tuple[float, float], width: float) -> None:
        for colour, thick in ((self.dark, width + 2 * OUTLINE), (self.fill, width)):
            self.draw.line((*self.at(start), *self.at(end)), fill=colour, width=round(thick * self.scale))
            self.disc(start, thick / 2, colour)
            self.disc(end, thick / 2, colour)

    def ring(self) -> None:
        """Draws thumb and index touching, with a hole between them."""
        x, y = -7.5, PALM_Y - 7.0
        for colour, radius, width in ((self.dark, 6.6, 5.0), (self.fill, 5.6, 3.0)):
            box = (*self.at((x - radius, y - radius)), *self.at((x + radius, y + radius)))
            self.draw.ellipse(box, outline=colour, width=round(width * self.scale))

    def box(self, corners: tuple[float, float, float, float], radius: float) -> None:
        left, top, right, bottom = corners
        for colour, more in ((self.dark, OUTLINE), (self.fill, 0.0)):
            box = (*self.at((left - more, top - more)), *self.at((right + more, bottom + more)))
            self.draw.rounded_rectangle(box, (radius + more) * self.scale, fill=colour)

    def line(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        self.draw.line((*self.at(start), *self.at(end)), fill=self.crease, width=round(0.9 * self.scale))

    def disc(self, centre: tuple[float, float], radius: float, colour: Colour) -> None:
        x, y = self.at(centre)
        reach = radius * self.scale
        self.draw.ellipse((x - reach, y - reach, x + reach, y + reach), fill=colour)

    def at(self, point: tuple[float, float]) -> tuple[float, float]:
        """Returns the pixels of a point in hand units."""
        middle = HAND_BOX / 2
        return (point[0] + middle) * self.scale, (point[1] + middle) * self.scale
