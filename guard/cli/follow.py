"""Follows the live stream of the running daemon: one thing that happened after the other, until it ends."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from guard.cli.client import connected, control_path
from guard.errors import ControlError, DaemonUnreachable
from guard.wire.control import HEAD_LIMIT, Call, Request, read_answer, write_request

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator
    from typing import BinaryIO

    from guard.wire.stream import Filter

SILENCE = 45.0
"""Seconds without a sign of life after which the daemon is taken to be gone; it gives one every 15."""
LINE_LIMIT = 16 * 1024
"""Bytes of one line of the stream; the longest real one has 1,000."""


def follow(options: Namespace, wanted: Filter) -> Iterator[dict[str, Any]]:
    """Give what happens. DaemonUnreachable when the daemon stops or is gone, ControlError when it drops us."""
    path = control_path(options)
    with connected(path) as connection:
        connection.sendall(write_request(Request(Call.EVENTS, filter=wanted)))
        with connection.makefile("rb") as stream:
            _begin(stream)
            connection.settimeout(SILENCE)
            while line := stream.readline(LINE_LIMIT):
                if line.startswith(b"data: "):
                    yield _read(line)
    raise DaemonUnreachable(f"astguard went away from {path}; its log says why")


def _begin(stream: BinaryIO) -> None:
    """Read the head of the answer; what the daemon refuses is raised here."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        line = stream.readline(HEAD_LIMIT)
        head += line
        if not line or len(head) > HEAD_LIMIT:
            break
    if b" 200 " not in head.partition(b"\r\n")[0]:
        read_answer(head + stream.read(HEAD_LIMIT))
        raise ControlError("the daemon gave an answer of another version; restart it")


def _read(line: bytes) -> dict[str, Any]:
    try:
        happened = json.loads(line.removeprefix(b"data: "))
    except ValueError:
        happened = None
    if not isinstance(happened, dict):
        raise ControlError("the daemon told something that is no JSON; what is on the control socket?")
    match happened.get("kind"):
        case "end":
            raise DaemonUnreachable("astguard has stopped")
        case "dropped":
            raise ControlError(f"astguard tells no more: {happened.get('text')}")
    return happened
