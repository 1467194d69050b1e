"""Where results live: a folder, or any fsspec URL such as ``s3://bucket/path``.

Paths are relative, with ``/``. A write is atomic: a reader sees the old
content or the new, never a half.
"""

import os
import secrets
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from vllm_eval.errors import RunSettingsError, StorageError

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

# Object stores have no folders. Asked to make one, s3fs makes the bucket if it
# is missing, so that a misspelt name would become a new, empty store of results.
OBJECT_STORES = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl"})


class Storage(Protocol):
    """A folder of files; all errors are :class:`StorageError`, except a missing file in ``read``: None."""

    local: Path | None
    """The folder on this machine, None when the storage is remote."""

    def read(self, path: str) -> bytes | None:
        """Return the content of ``path``, None when it is not there."""

    def read_many(self, paths: Sequence[str]) -> dict[str, bytes]:
        """Read all of ``paths`` that are there, at once where the storage can."""

    def write(self, path: str, content: bytes) -> None:
        """Replace ``path`` atomically and durably."""

    def list(self, folder: str) -> list[str]:
        """Return the names directly in ``folder``, sorted; none when it is not there."""

    def delete(self, path: str) -> None:
        """Remove a file or a whole folder; nothing happens when it is not there."""


class LocalStorage:
    """A folder on this machine or on a mounted claim."""

    def __init__(self, root: Path) -> None:
        self.local: Path | None = root
        self._root = root

    def read(self, path: str) -> bytes | None:
        """Return the content of ``path``, None when it is not there."""
        try:
            return (self._root / path).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _failed("read", self._root / path, error) from None

    def read_many(self, paths: Sequence[str]) -> dict[str, bytes]:
        """Read one after the other."""
        contents = ((path, self.read(path)) for path in paths)
        return {path: content for path, content in contents if content is not None}

    def write(self, path: str, content: bytes) -> None:
        """Write beside the target, sync, rename, sync the folder."""
        target = self._root / path
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            # Unlike the tempfile module's, readable by others as the umask says: a pod reads what somebody else wrote.
            temporary = target.parent / f".tmp-{secrets.token_hex(8)}"
            try:
                with temporary.open("xb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                temporary.replace(target)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
            sync_folder(target.parent)
        except OSError as error:
            raise _failed("write", target, error) from None

    def list(self, folder: str) -> list[str]:
        """Return the names directly in ``folder``, without unfinished writes."""
        try:
            names = [entry.name for entry in (self._root / folder).iterdir()]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise _failed("list", self._root / folder, error) from None
        return sorted(name for name in names if not name.startswith(".tmp-"))

    def delete(self, path: str) -> None:
        """Remove a file or a whole folder."""
        target = self._root / path
        try:
            if target.is_dir():
                for name in sorted(target.iterdir()):
                    self.delete(str(PurePosixPath(path) / name.name))
                target.rmdir()
            else:
                target.unlink(missing_ok=True)
        except OSError as error:
            raise _failed("delete", target, error) from None


class RemoteStorage:
    """Any fsspec URL; object stores replace an object atomically.

    Raises
    ------
    RunSettingsError
        The URL's package is not installed, or the URL carries a password or is a chain.
    """

    def __init__(self, url: str) -> None:
        # Imported only here: most runs use a folder, and fsspec's back ends are slow to import.
        from fsspec.core import url_to_fs

        if urlsplit(url).password is not None:
            # Not shown: errors and logs name the URL.
            raise RunSettingsError(
                "VLLM_EVAL_RESULTS (--out) is a URL with a password, which would be in logs; "
                "give the pod an identity, or set the variables that the storage's package reads"
            )
        if "::" in url:
            # Not shown: what is behind the first may have a password. And a cache in the chain would be read where
            # another run has written since.
            raise RunSettingsError(
                "VLLM_EVAL_RESULTS (--out) chains fsspec URLs by `::`; name the storage alone, such as s3://bucket/path"
            )
        self.local: Path | None = None
        try:
            filesystem, root = url_to_fs(url)
        except (ValueError, ImportError) as error:
            raise RunSettingsError(
                f"VLLM_EVAL_RESULTS (--out) is {url!r}: {error}; the image brings s3fs, another URL needs its own "
                "fsspec package: add it to eval/evalchemy/requirements.in, run `make lock` and build the image"
            ) from None
        self._filesystem: AbstractFileSystem = filesystem
        self._url = url.rstrip("/")
        self._root = str(root).rstrip("/")
        self._has_folders = url.split("://", 1)[0] not in OBJECT_STORES

    def read(self, path: str) -> bytes | None:
        """Return the content of ``path``, None when it is not there."""
        try:
            return bytes(self._filesystem.cat_file(f"{self._root}/{path}"))
        except FileNotFoundError:
            return None
        except Exception as error:  # noqa: BLE001 - each fsspec back end raises its own errors
            raise self._failed("read", path, error) from None

    def read_many(self, paths: Sequence[str]) -> dict[str, bytes]:
        """Read all at once; fsspec's asynchronous back ends do it in parallel."""
        if not paths:
            return {}
        try:
            found = self._filesystem.cat([f"{self._root}/{path}" for path in paths], on_error="return")
        except Exception as error:  # noqa: BLE001 - each fsspec back end raises its own errors
            raise self._failed("read", paths[0], error) from None
        contents: dict[str, bytes] = {}
        # Back ends differ in what they put before the root, and whether a missing path is returned.
        root = f"{self._root.strip('/')}/"
        for full, content in found.items():
            path = str(full).split(root, 1)[1]
            if isinstance(content, bytes):
                contents[path] = content
            elif not isinstance(content, FileNotFoundError):
                raise self._failed("read", path, content)
        return contents

    def write(self, path: str, content: bytes) -> None:
        """Replace an object."""
        try:
            if self._has_folders:
                self._filesystem.makedirs(f"{self._root}/{path}".rsplit("/", 1)[0], exist_ok=True)
            self._filesystem.pipe_file(f"{self._root}/{path}", content)
        except Exception as error:  # noqa: BLE001 - each fsspec back end raises its own errors
            raise self._failed("write", path, error) from None

    def list(self, folder: str) -> list[str]:
        """Return the names directly in ``folder``."""
        try:
            # Another process may have written since: fsspec keeps listings.
            self._filesystem.invalidate_cache()
            names = self._filesystem.ls(f"{self._root}/{folder}", detail=False)
        except FileNotFoundError:
            return []
        except Exception as error:  # noqa: BLE001 - each fsspec back end raises its own errors
            raise self._failed("list", folder, error) from None
        return sorted(str(name).rstrip("/").rsplit("/", 1)[-1] for name in names)

    def delete(self, path: str) -> None:
        """Remove an object or everything under a prefix."""
        try:
            self._filesystem.rm(f"{self._root}/{path}", recursive=True)
        except FileNotFoundError:
            return
        except Exception as error:  # noqa: BLE001 - each fsspec back end raises its own errors
            raise self._failed("delete", path, error) from None

    def _failed(self, verb: str, path: str, error: Exception) -> StorageError:
        return _failed(verb, f"{self._url}/{path}", error)


def open_storage(location: str) -> Storage:
    """Open a folder, or an fsspec URL when ``location`` has a scheme."""
    if "://" in location:
        if location.startswith("file://"):
            return LocalStorage(Path(location.removeprefix("file://")))
        return RemoteStorage(location)
    return LocalStorage(Path(location))


def sync_folder(folder: Path) -> None:
    """Make a rename in ``folder`` survive a crash of the machine."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _failed(verb: str, path: object, error: Exception) -> StorageError:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else f"{type(error).__name__}: {error}"
    return StorageError(f"cannot {verb} {path}: {reason}")
