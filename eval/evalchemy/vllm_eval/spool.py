"""Long texts that nobody reads before the end of a run, kept on disk meanwhile: thoughts, 128 kB each and more.

One file without a name in the temporary folder, which is gone with the process.
"""

import atexit
import tempfile
import threading
import zlib
from functools import cache
from typing import IO

# A shorter text takes less memory than the record of its place on disk.
LEAST_CHARACTERS = 1024


class Kept:
    """A text; what is asked of it often is kept beside it."""

    def __init__(self, text: str) -> None:
        self.characters = len(text)
        self.blank = not text.strip()
        self._text: str | None = text
        self._place = (0, 0)
        if self.characters >= LEAST_CHARACTERS:
            self._place = _spool().put(zlib.compress(text.encode("utf-8", "surrogatepass"), 1))
            self._text = None

    @property
    def text(self) -> str:
        """The text itself, read anew each time."""
        if self._text is not None:
            return self._text
        return zlib.decompress(_spool().get(*self._place)).decode("utf-8", "surrogatepass")

    def __eq__(self, other: object) -> bool:
        """Whether the texts are equal."""
        return isinstance(other, Kept) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"Kept({self.characters} characters)"


class _Spool:
    def __init__(self) -> None:
        self._file: IO[bytes] = tempfile.TemporaryFile(prefix="vllm-eval-")  # noqa: SIM115 - open as long as the process
        atexit.register(self._file.close)
        self._lock = threading.Lock()
        self._end = 0

    def put(self, content: bytes) -> tuple[int, int]:
        with self._lock:
            place = (self._end, len(content))
            self._file.seek(self._end)
            self._file.write(content)
            self._end += len(content)
        return place

    def get(self, start: int, length: int) -> bytes:
        with self._lock:
            self._file.seek(start)
            return self._file.read(length)


@cache
def _spool() -> _Spool:
    return _Spool()
