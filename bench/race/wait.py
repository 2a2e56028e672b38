"""Waiting for a tool to be up."""

from __future__ import annotations

import time

PATIENCE = 60.0


class NotUpError(Exception):
    """A tool did not come up; the message holds what it said."""


def until(question, process, log):
    """Ask until the answer is yes; NotUpError when the process has ended or the patience has."""
    deadline = time.monotonic() + PATIENCE
    while not question():
        if process.poll() is not None or time.monotonic() > deadline:
            raise NotUpError(log()[-3000:])
        time.sleep(0.1)
