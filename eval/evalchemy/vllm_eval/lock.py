"""One run of a model at a time, where the results are on a shared folder."""

import errno
import fcntl
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote

from vllm_eval.errors import DeadlineError, StorageError
from vllm_eval.storage import Storage

log = logging.getLogger(__name__)

POLL_SECONDS = 1.0
# A file system without locks (some NFS mounts): the run goes on without one.
UNSUPPORTED = frozenset({errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EOPNOTSUPP})


@contextmanager
def run_lock(storage: Storage, stack: str, model: str, *, deadline: float) -> Iterator[None]:
    """Hold the lock of one stack's model.

    The kernel lets go of it when the process ends, however it ends. Without a
    local folder there is no lock; the order of recorded starts still decides
    which run's scores are shown.

    Raises
    ------
    DeadlineError
        Another run held the lock until ``deadline`` (``time.monotonic()`` seconds).
    StorageError
        The lock file cannot be made.
    """
    if storage.local is None:
        yield
        return
    path = storage.local / "locks" / f"{quote(stack, safe='')}--{quote(model, safe='')}.lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise StorageError(f"cannot write results: {path}: {error.strerror}; set --out (VLLM_EVAL_RESULTS)") from None
    try:
        _acquire(handle, str(path), deadline)
        yield
    finally:
        os.close(handle)


def _acquire(handle: int, path: str, deadline: float) -> None:
    said = False
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not said:
                log.warning("another run of this model is going on (%s); waiting for its end", path)
                said = True
            if time.monotonic() > deadline:
                raise DeadlineError(f"the deadline passed while another run held {path}") from None
            time.sleep(POLL_SECONDS)
        except OSError as error:
            if error.errno in UNSUPPORTED:
                log.warning("%s: the file system has no locks; two runs at once are not kept apart", path)
                return
            raise StorageError(f"cannot lock {path}: {error.strerror}") from None
        else:
            return
