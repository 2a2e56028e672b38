"""Makes the control socket: one daemon at a path, none of another taken away, and open to no stranger for a moment."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING

from guard.errors import ControlError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SOCKET_MODE = 0o660
BACKLOG = 64


def claim(path: Path) -> socket.socket:
    """Return a listening socket at `path`; ControlError if somebody answers there, or the kernel says no."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        with _locked(path.parent):
            _clear(path)
            listener.bind(str(path))
            path.chmod(SOCKET_MODE)
            listener.listen(BACKLOG)  # nobody gets through before, whatever the umask
    except OSError as error:
        listener.close()
        reason = error.strerror or str(error)
        remedy = "run this as root, or change" if isinstance(error, PermissionError) else "see"
        raise ControlError(
            f"cannot make the control socket {path}: {reason}; {remedy} 'control' in astguard.yaml"
        ) from None
    except BaseException:
        listener.close()
        raise
    return listener


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold off other daemons that start at this moment; the lock is the folder's own and leaves no file."""
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise ControlError(
            f"the folder {folder} of the control socket is missing; make it, or change 'control' in astguard.yaml"
        ) from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _clear(path: Path) -> None:
    """Take away what a dead daemon left; ControlError if it is something else."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ControlError(f"{path} is there and is no socket; move it away, or change 'control' in astguard.yaml")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        found = probe.connect_ex(str(path))
    if found != errno.ECONNREFUSED:
        raise ControlError(f"another astguard answers on {path}; stop it first, or change 'control' in astguard.yaml")
    path.unlink(missing_ok=True)
