"""Where a feature cache is: a file, a folder of files with an index, or either of them in object storage, named by a
URL. Needs neither HDF5 nor torch."""

import os
import re
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from slt_cache.errors import InputError, SltCacheError

INDEX_FILE = "index.json"
"""Name of the index in a folder of files."""
BLOCK = 1 << 18
"""Bytes read at once of a remote file's structure, which is scattered between its columns."""
BLOCKS = 64
"""Number of blocks that are kept."""
LOCAL = "///"
"""What follows file: in a URL."""
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/+(?=[^/])")
"""Beginning of a URL. A Path has lost one of its slashes; drives of Windows have a single letter."""


def is_cache(path: Path) -> bool:
    """Returns whether there is a cache: any file, or a folder with an index."""
    return path.is_file() or (path / INDEX_FILE).is_file()


def located(name: Path | str) -> Path:
    """Returns the path of a cache; for a URL such as s3://bucket/feats.h5, one that reads ranges of it."""
    text = str(name)
    return UrlPath(text) if _URL.match(text) else Path(name)


def on_disk(name: Path | str) -> Path:
    """Returns the path of a cache that is written or linked. Raises InputError for a URL."""
    path = located(name)
    if isinstance(path, UrlPath):
        raise InputError(
            f"{path}: caches are read from there, and not written or linked. Name a file here, and copy it."
        )
    return path


if TYPE_CHECKING:
    SystemPath = Path
else:
    SystemPath = type(Path())  # Path itself has no subclasses before Python 3.12


class UrlPath(SystemPath):
    """Path of a file or folder that fsspec reads."""

    def __str__(self) -> str:
        return _URL.sub(lambda found: f"{found[1]}:{LOCAL if found[1] == 'file' else '//'}", super().__str__(), count=1)

    @property
    def _opened(self) -> tuple[Any, str]:
        """File system, and path in it. Raises InputError if no package reads such URLs."""
        from fsspec.core import url_to_fs

        try:
            system, path = url_to_fs(str(self), use_listings_cache=False)
            return system, path
        except (ImportError, ValueError) as error:  # its package is not installed, or the protocol unknown
            raise InputError(
                f"{self}: cannot be read ({error}). Install what reads such URLs, pip install 'slt-cache[remote]' for "
                "s3://, or copy the file here."
            ) from error

    def _ask(self, name: str, *values: Any, **options: Any) -> Any:
        """Calls a method of the file system. Raises OSError, whatever its package raises."""
        system, path = self._opened
        try:
            return getattr(system, name)(path, *values, **options)
        except OSError:
            raise
        except Exception as error:  # each package has its own, for missing credentials or a lost connection
            raise OSError(None, f"{type(error).__name__}: {error}"[:200], str(self)) from error

    def require(self) -> None:
        """Raises InputError, with the reason, if there is nothing, or if it cannot be read."""
        try:
            self._ask("info")
        except FileNotFoundError as error:
            raise InputError(f"{self}: there is no such feature cache.") from error
        except OSError as error:
            raise InputError(f"{self}: cannot be read ({error.strerror or error}). Check the credentials.") from error

    def is_file(self, **options: Any) -> bool:
        return bool(self._ask("isfile"))

    def is_dir(self, **options: Any) -> bool:
        return bool(self._ask("isdir"))

    def exists(self, **options: Any) -> bool:
        return bool(self._ask("exists"))

    def absolute(self) -> "UrlPath":
        return self

    def stat(self, **options: Any) -> os.stat_result:
        """Returns the size; everything else is 0."""
        return os.stat_result((0, 0, 0, 0, 0, 0, int(self._ask("info")["size"] or 0), 0, 0, 0))

    def open(self, mode: str = "r", *values: Any, **options: Any) -> IO[Any]:  # type: ignore[override]
        options = {name: value for name, value in options.items() if value is not None}
        kept = {"block_size": BLOCK, "cache_type": "blockcache", "cache_options": {"maxblocks": BLOCKS}}
        file: IO[Any] = self._ask("open", mode, **options, **(kept if "b" in mode else {}))
        return file

    @property
    def version(self) -> str:
        """What changes when the file is replaced."""
        return str(self._ask("ukey"))

    def read_range(self, first: int, end: int) -> bytes:
        """Returns the bytes from `first` to `end`, in one request. Raises SltCacheError if they cannot be read."""
        try:
            data = bytes(self._ask("cat_file", start=first, end=end))
        except OSError as error:
            raise SltCacheError(
                f"{self}: cannot be read ({error.strerror or error}). Check the connection, and run the command again."
            ) from error
        if len(data) != end - first:
            raise SltCacheError(f"{self}: was truncated while it was read. Run the command again.")
        return data
