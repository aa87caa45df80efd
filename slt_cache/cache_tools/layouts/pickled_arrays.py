"""Pickles with arrays of numpy and tensors of torch: a file in, plain values and `PickledArray`s out.

Like corpora/pickles.py, this executes nothing: the few names that such pickles contain (numpy's `_reconstruct`, torch's
`_rebuild_tensor_v2` ...) stand for operations written here, and any other name is refused. The file is read as a
stream, and the bytes of its arrays go to a temporary file, so memory holds one array at a time."""

import gzip
import io
import pickletools
import re
import tempfile
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from slt_cache.cache_tools.arrays import BadFile, numpy_of
from slt_cache.corpora.pickles import MAX_BYTES, PlainBuilder, Refused, build
from slt_cache.errors import InputError, SltCacheError

SPOOLED = 1 << 12
"""Smallest size in bytes of what goes to the temporary file."""
NUMPY = {
    f"numpy.{core}.{name}": name.rpartition(" ")[2]
    for core in ("core", "_core")
    for name in ("multiarray _reconstruct", "multiarray scalar", "numeric _frombuffer")
}
NAMES = {
    **NUMPY,
    "numpy ndarray": "ndarray",
    "numpy dtype": "dtype",
    "torch._utils _rebuild_tensor_v2": "tensor",
    "torch.storage _load_from_bytes": "storage",
    "collections OrderedDict": "dict",
    "_codecs encode": "encode",
    "builtins list": "list",
}
"""Names in pickles of arrays, and the operations that they stand for."""
DTYPE = re.compile(r"[fiub]\d{1,2}|O8?|[US]\d{1,5}")


@dataclass(frozen=True)
class _Spooled:
    """Bytes in the temporary file."""

    file: IO[bytes]
    offset: int
    size: int

    def read(self) -> bytes:
        self.file.seek(self.offset)
        return self.file.read(self.size)


_Bytes = bytes | bytearray | _Spooled


class _Dtype:
    def __init__(self, name: Any, *_: Any):
        if not isinstance(name, str) or not DTYPE.fullmatch(name):
            raise Refused(f"an array of {ascii(name)[:40]}")
        self.dtype = np.dtype(name)

    def update(self, state: Any) -> None:
        self.dtype = self.dtype.newbyteorder({"|": "="}.get(state[1], state[1]))


class PickledArray:
    """An array of numpy or a tensor of torch whose numbers have not been read yet."""

    def array(self) -> np.ndarray:
        """Reads the numbers. Raises BadFile if they cannot be read."""
        try:
            return self._array()
        except BadFile:
            raise
        except Exception as error:  # numpy and torch raise their own for each kind of damage
            raise BadFile(f"a damaged array ({type(error).__name__})") from error

    def _array(self) -> np.ndarray:
        raise BadFile("an array without numbers")


class _NumpyArray(PickledArray):
    def __init__(self, data: Any = None, dtype: _Dtype | None = None, shape: Any = (), order: str = "C"):
        self.data, self.dtype, self.shape, self.order = data, dtype, shape, order

    def update(self, state: Any) -> None:
        _, self.shape, self.dtype, fortran, self.data = state
        self.order = "F" if fortran else "C"

    def objects(self) -> list[Any] | None:
        """Returns the items of an array of objects; None if it holds numbers."""
        return self.data if isinstance(self.data, list) else None

    def _array(self) -> np.ndarray:
        if self.dtype is None or not isinstance(self.data, bytes | bytearray | _Spooled):
            raise BadFile("objects instead of numbers")
        array = np.frombuffer(_read(self.data), self.dtype.dtype)
        return array.reshape(self.shape, order="F" if self.order == "F" else "C")


class _Tensor(PickledArray):
    def __init__(self, storage: Any, offset: int, size: Any, stride: Any, *_: Any):
        if not isinstance(storage, _Storage):
            raise Refused("a tensor without storage")
        self.storage, self.place = storage, (offset, size, stride)

    def _array(self) -> np.ndarray:
        import torch

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the old format of storages
            loaded: Any = torch.load(io.BytesIO(_read(self.storage.data)), map_location="cpu", weights_only=True)
        tensor = torch.empty(0, dtype=loaded.dtype).set_(loaded, *self.place)
        return numpy_of(tensor, tensor.untyped_storage().nbytes())


@dataclass(frozen=True)
class _Storage:
    data: _Bytes


def _read(data: _Bytes) -> bytes | bytearray:
    return data.read() if isinstance(data, _Spooled) else data


class _ArrayBuilder(PlainBuilder):
    """The stack machine with the operations of arrays."""

    def __init__(self, spool: IO[bytes] | None):
        super().__init__()
        self.spool = spool

    def _operations(self) -> dict[str, Any]:
        return {
            **super()._operations(),
            "BYTEARRAY8": lambda data: self.stack.append(self.stored(bytes(data))),
            "BUILD": lambda _: self._build(),
        }

    def stored(self, value: Any) -> Any:
        """Returns large bytes as a place in the temporary file."""
        if self.spool is None or not isinstance(value, bytes | str) or len(value) < SPOOLED:
            return value
        try:
            data = value.encode("latin1") if isinstance(value, str) else value  # how old protocols write bytes
        except UnicodeEncodeError:
            return value
        place = _Spooled(self.spool, self.spool.seek(0, io.SEEK_END), len(data))
        try:
            self.spool.write(data)
        except OSError as error:
            raise SltCacheError(
                f"no room for temporary files ({error.strerror}). Free some space, or set TMPDIR to a folder on "
                "another disk."
            ) from error
        return place

    def knows(self, name: str) -> bool:
        return name in NAMES or super().knows(name)

    def called(self, name: str, arguments: tuple[Any, ...]) -> Any:
        if name not in NAMES:
            return super().called(name, arguments)
        return getattr(self, f"_call_{NAMES[name].lstrip('_')}")(*arguments)

    def _call_reconstruct(self, *_: Any) -> Any:
        return _NumpyArray()

    def _call_frombuffer(self, data: Any, dtype: Any, shape: Any, order: Any) -> Any:
        return _NumpyArray(data, dtype, shape, order)

    def _call_scalar(self, dtype: Any, data: Any) -> Any:
        return np.frombuffer(_read(data), dtype.dtype)[0].item()

    def _call_ndarray(self, *_: Any) -> Any:
        raise Refused("a call of numpy.ndarray")

    def _call_dtype(self, *arguments: Any) -> Any:
        return _Dtype(*arguments)

    def _call_tensor(self, *arguments: Any) -> Any:
        return _Tensor(*arguments)

    def _call_storage(self, data: Any) -> Any:
        return _Storage(data)

    def _call_dict(self, *_: Any) -> Any:
        return {}

    def _call_list(self, *_: Any) -> Any:
        return []

    def _call_encode(self, text: Any, encoding: str = "latin1") -> Any:
        return text if isinstance(text, _Spooled) else text.encode("latin1")

    def _build(self) -> None:
        state, target = self._pop(), self._top(object)
        if not isinstance(target, _Dtype | _NumpyArray) or not isinstance(state, tuple):
            raise Refused("a call of __setstate__")
        target.update(state)


class _Limited:
    """A stream whose single values are not larger than any clip, so that a hostile length fills no memory."""

    def __init__(self, stream: IO[bytes]):
        self.stream, self.tell = stream, stream.tell

    def read(self, size: int) -> bytes:
        if size > MAX_BYTES:
            raise ValueError(f"a value of {size:,} bytes")
        return self.stream.read(size)

    def readline(self) -> bytes:
        line = self.stream.readline(MAX_BYTES)
        if len(line) == MAX_BYTES:
            raise ValueError("a line without an end")
        return line


def load_arrays(path: Path, spooled: bool = False) -> Any:
    """Returns the value of a pickle, gzipped or not, or of a .npy file of objects, as numpy saves dicts and lists.

    With `spooled`, the bytes of its arrays go to a temporary file that is deleted with the last of them. Raises
    InputError if the file cannot be read, or asks for anything but plain values and arrays."""
    spool = tempfile.TemporaryFile() if spooled else None  # noqa: SIM115 - lives as long as the arrays
    with _opened(path) as stream:
        if path.suffix == ".npy":
            _skip_header(path, stream)
        value = build(path, _Limited(stream), _ArrayBuilder(spool))  # type: ignore[arg-type]
    if not isinstance(value, _NumpyArray) or (items := value.objects()) is None:
        return value
    return items[0] if value.shape == () and len(items) == 1 else items


def holds_dict(path: Path) -> bool:
    """Returns whether a pickle begins like a dict, reading no more than its first operations."""
    try:
        with _opened(path) as stream:
            names = (opcode.name for opcode, _, _ in pickletools.genops(_Limited(stream)))  # type: ignore[arg-type]
            return next((name for name in names if name not in ("PROTO", "FRAME", "MARK")), "") in (
                "EMPTY_DICT",
                "DICT",
            )
    except (InputError, ValueError):
        return False


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            with gzip.open(file) if packed else file as stream:
                yield stream  # type: ignore[misc]
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: cannot be read ({error}). Get the file again.") from error


def _skip_header(path: Path, stream: IO[bytes]) -> None:
    try:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        _, _, dtype = read(stream)
    except ValueError as error:
        raise InputError(f"{path}: not a .npy file ({error}). Get the file again.") from error
    if not dtype.hasobject:
        raise InputError(f"{path}: an array of {dtype}, but labels are a dict or a list. Is this a label file?")
