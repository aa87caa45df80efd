"""Normalization table of sentencepiece, edited so that given characters stay as they are. Knows no tokenizers.

Only the table will do: steps around it, such as `tokenizers.normalizers.Replace`, are lost when T5, MBart-50 or NLLB
are loaded again, since transformers builds their normalizer from the table alone.

The table is a double-array trie (darts-clone) from UTF-8 keys to offsets into a text of replacements: uint32 size of
the trie in bytes, its uint32 units, the replacements, each followed by a zero byte."""

import sys
from array import array

BLOCK = 256
"""Units per block; the children of a node lie in one block, each at the node's base XOR its byte."""
HAS_LEAF = 1 << 8
WIDE = 1 << 9
"""Flag of a unit whose offset counts blocks, not units."""
IS_LEAF = 1 << 31


class Charsmap:
    """Normalization table that can be edited to keep characters as they are."""

    def __init__(self, table: bytes):
        size = int.from_bytes(table[:4], "little")
        self.units = array("I", table[4 : 4 + size])
        if sys.byteorder == "big":
            self.units.byteswap()
        self.replacements = table[4 + size :]
        self._own: set[bytes] = set()

    def to_bytes(self) -> bytes:
        units = self.units[:]
        if sys.byteorder == "big":
            units.byteswap()
        trie = units.tobytes()
        return len(trie).to_bytes(4, "little") + trie + self.replacements

    def keep(self, character: str) -> bool:
        """Makes the character its own replacement; returns False if the table does not change it."""
        key = character.encode()
        place = self._unit_of(key)
        if place is None or not self.units[place] & HAS_LEAF:
            return False
        # Keys with equal suffixes share nodes: copy the path before changing its leaf.
        for length in range(1, len(key) + 1):
            self._make_own(key[:length])
        place = self._unit_of(key)
        assert place is not None
        self.units[self._base(place)] = IS_LEAF | len(self.replacements)
        self.replacements += key + b"\0"
        return True

    def _base(self, place: int) -> int:
        """Returns the index of the children of the unit at `place`; its leaf is the first of them."""
        unit = self.units[place]
        offset = unit >> 10 & 0x1FFFFF  # bit 31 marks leaves
        return place ^ (offset << 8 if unit & WIDE else offset)

    def _unit_of(self, key: bytes) -> int | None:
        place = 0
        for byte in key:
            place = self._base(place) ^ byte
            if self._label(place) != byte:
                return None
        return place

    def _label(self, place: int) -> int:
        return self.units[place] & (IS_LEAF | 0xFF)

    def _make_own(self, key: bytes) -> None:
        """Gives the node of the key its own block of children, shared with no other node."""
        if key in self._own:
            return
        self._own.add(key)
        place = self._unit_of(key)
        assert place is not None
        old = self._base(place)
        new = -(-len(self.units) // BLOCK) * BLOCK
        self.units.extend([0] * (new + BLOCK - len(self.units)))
        if self.units[place] & HAS_LEAF:
            self.units[new] = self.units[old]
        for byte in range(1, BLOCK):
            if self._label(old ^ byte) == byte:
                self._point(new ^ byte, self._base(old ^ byte), self.units[old ^ byte])
        self._point(place, new, self.units[place])

    def _point(self, place: int, base: int, like: int) -> None:
        """Writes a unit with children at `base` and the label and leaf flag of `like`."""
        offset = place ^ base
        flags = like & (HAS_LEAF | 0xFF)
        if offset < 1 << 21:
            self.units[place] = flags | offset << 10
        else:
            assert offset & 0xFF == 0, "a far block is aligned with its parent"
            self.units[place] = flags | WIDE | offset >> 8 << 10
