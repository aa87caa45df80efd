"""Pickled annotation files, gzipped or plain: bytes in, plain values out.

A pickle is a program. This module reads its operations one by one and carries out only those that build dict, list,
tuple, set, str, bytes, int, float, bool and None; nothing that the file names is imported, called or constructed.
Python's own unpickler is not used: even with an allow-list, a few hostile bytes make it fill the memory or end the
process."""

import gzip
import io
import pickletools
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from slt_cache.errors import InputError

MAX_BYTES = 1 << 29
"""Most bytes of an unpacked annotation file; the largest official one has some 50 million."""
PLAIN_KEYS = (str, bytes, int, float, type(None))
"""Types of dictionary keys; hashing deeply nested tuples could crash the process."""
SETS = {
    "builtins set": set,
    "__builtin__ set": set,
    "builtins frozenset": frozenset,
    "__builtin__ frozenset": frozenset,
}
"""Names of sets in old protocols; no other name is known."""
_MARK = object()


class Refused(Exception):
    """The pickle asks for what is not allowed."""


def load_plain(path: Path) -> Any:
    """Returns the value that a pickle holds. Raises InputError unless it is a whole pickle of plain values."""
    return build(path, io.BytesIO(_unpacked(path)), PlainBuilder())


def build(path: Path, stream: IO[bytes], builder: "PlainBuilder") -> Any:
    """Returns the value that the pickle at the stream's position holds. Raises InputError, naming `path`, unless it is
    whole and asks for nothing that the builder does not know."""
    try:
        return builder.build(stream)
    except Refused as error:
        raise InputError(
            f"{path}: its pickle asks for {error}, which is not allowed: annotation files hold plain values. "
            "Nothing was executed. Get the file again, or save it with plain values only."
        ) from error
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, MemoryError) as error:
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise InputError(f"{path}: not a whole pickle ({reason}). Get the file again.") from error


def _unpacked(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        with gzip.open(path) if packed else path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: cannot be read ({error}). Get the file again.") from error
    if len(data) > MAX_BYTES:
        raise InputError(f"{path}: more than {MAX_BYTES:,} bytes unpacked; no annotation file is that large.")
    return data


class PlainBuilder:
    """The stack machine of pickle, without any operation that leaves it. Subclasses may know more names."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.operations = self._operations()

    def build(self, stream: IO[bytes]) -> Any:
        for opcode, argument, _ in pickletools.genops(stream):
            name = opcode.name
            if name in _VALUES:
                self.stack.append(self.stored(argument))
            elif name == "STOP":
                return self._pop()
            elif name in self.operations:
                self.operations[name](argument)
            elif name not in ("PROTO", "FRAME"):
                raise Refused(f"the operation {name}")
        raise ValueError("it has no end")

    def stored(self, value: Any) -> Any:
        """Returns what stands for a value on the stack: the value itself."""
        return value

    def _operations(self) -> dict[str, Callable[[Any], Any]]:
        push, pop, items = self.stack.append, self._pop, self._items
        return {
            "MARK": lambda _: push(_MARK),
            "POP": lambda _: self.stack.pop(),
            "POP_MARK": lambda _: items(),
            "DUP": lambda _: push(self._top(object)),
            "NONE": lambda _: push(None),
            "NEWTRUE": lambda _: push(True),
            "NEWFALSE": lambda _: push(False),
            "EMPTY_DICT": lambda _: push({}),
            "EMPTY_LIST": lambda _: push([]),
            "EMPTY_TUPLE": lambda _: push(()),
            "EMPTY_SET": lambda _: push(set()),
            "LIST": lambda _: push(items()),
            "TUPLE": lambda _: push(tuple(items())),
            "TUPLE1": lambda _: push((pop(),)),
            "TUPLE2": lambda _: push((pop(), pop())[::-1]),
            "TUPLE3": lambda _: push((pop(), pop(), pop())[::-1]),
            "FROZENSET": lambda _: push(frozenset(_keys(items()))),
            "DICT": lambda _: push(_dict(items())),
            "APPEND": lambda _: self._extend([pop()]),
            "APPENDS": lambda _: self._extend(items()),
            "SETITEM": lambda _: self._update([pop(), pop()][::-1]),
            "SETITEMS": lambda _: self._update(items()),
            "ADDITEMS": lambda _: self._add(items()),
            "MEMOIZE": lambda _: self._remember(len(self.memo)),
            **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), self._remember),
            **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), lambda index: push(self.memo[index])),
            "GLOBAL": self._name,
            "INST": self._refuse,
            "STACK_GLOBAL": lambda _: self._name(" ".join(map(str, [pop(), pop()][::-1]))),
            "REDUCE": lambda _: self._reduce(),
        }

    def _pop(self) -> Any:
        value = self.stack.pop()
        if value is _MARK:
            raise ValueError("a mark in place of a value")
        return value

    def _top(self, kind: type) -> Any:
        if not isinstance(self.stack[-1], kind) or self.stack[-1] is _MARK:
            raise ValueError(f"a {kind.__name__} is expected")
        return self.stack[-1]

    def _items(self) -> list[Any]:
        """Returns the items above the last mark."""
        found: list[Any] = []
        while (value := self.stack.pop()) is not _MARK:
            found.append(value)
        return found[::-1]

    def _extend(self, values: list[Any]) -> None:
        self._top(list).extend(values)

    def _update(self, values: list[Any]) -> None:
        self._top(dict).update(_dict(values))

    def _add(self, values: list[Any]) -> None:
        self._top(set).update(_keys(values))

    def _remember(self, index: int) -> None:
        self.memo[index] = self._top(object)

    def _refuse(self, name: str) -> None:
        raise Refused(ascii(".".join(name.split()))[1:-1][:100])

    def _name(self, name: str) -> None:
        if not self.knows(name):
            self._refuse(name)
        self.stack.append(_Name(name))

    def knows(self, name: str) -> bool:
        """Returns whether the pickle may call what has this name, module and name separated by a space."""
        return name in SETS

    def _reduce(self) -> None:
        arguments, name = self._pop(), self._pop()
        if not isinstance(name, _Name) or not isinstance(arguments, tuple):
            raise Refused("a call")
        self.stack.append(self.called(str(name), arguments))

    def called(self, name: str, arguments: tuple[Any, ...]) -> Any:
        """Returns the value of a call of a known name."""
        [values] = arguments or ([],)
        if not isinstance(values, list | tuple):
            raise ValueError("a set made of something other than a list")
        return SETS[name](_keys(values))


class _Name(str):
    """A known name on the stack; no string of the file can take its place."""


_VALUES = frozenset(
    (
        *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
        *("STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
        *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    )
)
"""Operations whose argument is the value."""


def _keys(values: Any) -> Any:
    for value in values:
        if not isinstance(value, PLAIN_KEYS):
            raise ValueError(f"a {type(value).__name__} as a key")
    return values


def _dict(values: list[Any]) -> dict[Any, Any]:
    if len(values) % 2:
        raise ValueError("a key without a value")
    return dict(zip(_keys(values[::2]), values[1::2], strict=True))
