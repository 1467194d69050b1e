"""Tells whether a finished folder of the cache is as it was made.

A power failure leaves files short, or whole with bytes that were never written. So the sizes are compared at each use,
and the content once after each start of the machine: reading a gigabyte takes seconds.
"""

import hashlib
import json
from pathlib import Path
from typing import Any, Final

BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


def record(folder: Path, sums: Path) -> None:
    """Write size and SHA-256 of every file of a folder to `sums`."""
    files = {str(each.relative_to(folder)): [each.stat().st_size, _sha256(each)] for each in _files(folder)}
    _write(sums, {"boot": _boot(), "files": files})


def damaged(folder: Path, sums: Path) -> Path | None:
    """Return a file that is not as it was recorded, None when all are; a folder without a record gets one."""
    try:
        recorded: dict[str, Any] = json.loads(sums.read_text())
        files: dict[str, tuple[int, str]] = recorded["files"]
    except (OSError, ValueError, KeyError):  # of an older version of this project, or itself cut short
        record(folder, sums)
        return None
    for name, (size, _) in files.items():
        if not (folder / name).is_file() or (folder / name).stat().st_size != size:
            return folder / name
    if recorded["boot"] != _boot():
        for name, (_, digest) in files.items():
            if _sha256(folder / name) != digest:
                return folder / name
        _write(sums, {**recorded, "boot": _boot()})
    return None


def _files(folder: Path) -> list[Path]:
    return sorted(each for each in folder.rglob("*") if each.is_file() and not each.is_symlink())


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _boot() -> str:
    return BOOT_ID.read_text().strip() if BOOT_ID.exists() else ""


def _write(sums: Path, content: dict[str, Any]) -> None:
    sums.parent.mkdir(parents=True, exist_ok=True)
    fresh = sums.with_suffix(".new")
    fresh.write_text(json.dumps(content))
    fresh.replace(sums)
