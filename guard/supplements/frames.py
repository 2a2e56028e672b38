"""Frames on the pipe to the child: a JSON object a line, so small that the kernel writes it whole or not at all."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from guard.supplements.contract import CALLBACKS

if TYPE_CHECKING:
    from guard.supplements.contract import Alarm, Ban, Outcome, Unban

FRAME_LIMIT = 4096
"""PIPE_BUF of Linux: a write of so many bytes is never torn (pipe(7))."""
REPORT_LIMIT = 4096
"""Bytes of a line that the child says."""


def encode(callback: str, value: Ban | Unban | Alarm | Outcome, lost: int) -> bytes:
    """Return the frame of one call; `lost` tells how many were given up before it."""
    return json.dumps({"call": callback, "with": value._asdict(), "lost": lost}, separators=(",", ":")).encode() + b"\n"


def decode(line: bytes) -> tuple[str, Ban | Unban | Alarm | Outcome, int]:
    """Return callback, value and how many were lost; ValueError if it is no frame of ours."""
    try:
        frame = json.loads(line)
        return frame["call"], CALLBACKS[frame["call"]](**frame["with"]), int(frame["lost"])
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError("no frame of astguard's") from error
