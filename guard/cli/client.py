"""Talks to the running daemon, with the standard library and little of it: `astguard bans list` starts in 50 ms."""

from __future__ import annotations

import os
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from guard.cli import options as common
from guard.cli.output import note
from guard.errors import ConfigError, ControlError, DaemonUnreachable
from guard.wire.control import ANSWER_LIMIT, Request, read_answer, write_request

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator
    from pathlib import Path

SECONDS = 5.0
"""How long the daemon may stay silent."""
CHUNK = 1 << 18


class NotRunning(DaemonUnreachable):
    """There is surely no daemon at the control socket, not only none that answers."""


def ask(options: Namespace, request: Request) -> dict[str, Any]:
    """Send a request to the daemon of these options and return its answer; what it refuses is raised here."""
    answer = exchange(control_path(options), request)
    if isinstance(answer, dict):
        return answer
    raise ControlError(_STRANGE)


def ask_list(options: Namespace, request: Request) -> list[dict[str, Any]]:
    """Send a request whose answer is a list."""
    answer = exchange(control_path(options), request)
    if isinstance(answer, list) and all(isinstance(item, dict) for item in answer):
        return answer
    raise ControlError(_STRANGE)


def control_path(options: Namespace) -> Path:
    """Find the control socket: the option's, the configuration's, or the usual one."""
    if options.socket is not None:
        path: Path = options.socket
        return path
    if options.config is None and not os.access(common.DEFAULT_CONFIG, os.R_OK):
        return common.DEFAULT_SOCKET
    try:
        return common.read_config(options, needed=True).control
    except ConfigError as error:
        if options.config is not None:
            raise
        # A daemon that runs must still be reached when somebody has just broken its file.
        note(f"the configuration has mistakes, run 'astguard check'; using {common.DEFAULT_SOCKET} ({error})")
        return common.DEFAULT_SOCKET


def exchange(path: Path, request: Request) -> object:
    """Send one request and return its answer; DaemonUnreachable says why there is none."""
    with connected(path) as connection:
        connection.sendall(write_request(request))
        data = b"".join(_receive(connection))
    return read_answer(data)


@contextmanager
def connected(path: Path) -> Iterator[socket.socket]:
    """Connect to the control socket for as long as the block; DaemonUnreachable says what breaks there."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(SECONDS)
        try:
            connection.connect(str(path))
            yield connection
        except FileNotFoundError:
            raise NotRunning(f"astguard is not running: there is no {path}; {_START}") from None
        except ConnectionRefusedError:
            raise NotRunning(f"astguard is not running: nobody answers on {path}; {_START}") from None
        except PermissionError:
            text = f"no permission for {path}; run this as root, or as a member of the group that owns the socket"
            raise DaemonUnreachable(text) from None
        except TimeoutError:
            text = f"astguard gives no answer on {path} within {connection.gettimeout():.0f} s; see its log"
            raise DaemonUnreachable(text) from None
        except OSError as error:
            raise DaemonUnreachable(f"cannot talk to astguard on {path}: {error.strerror or error}") from None


def _receive(connection: socket.socket) -> Iterator[bytes]:
    size = 0
    while chunk := connection.recv(CHUNK):
        yield chunk
        size += len(chunk)
        if size > ANSWER_LIMIT:
            raise ControlError(f"the answer is larger than {ANSWER_LIMIT} bytes; what is on the control socket?")


_STRANGE = "the daemon gave an answer of another version; restart it"
_START = "start it with 'astguard run'"
