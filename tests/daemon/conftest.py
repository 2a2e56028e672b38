"""What several tests of the daemon begin with."""

from __future__ import annotations

import logging
import signal

import pytest

from tests.daemon.house import House


@pytest.fixture
def house():
    return House()


@pytest.fixture
def ctrl_c():
    """Let what is started hear SIGINT: a shell's background job ignores it, and so do its children."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def said(caplog):
    """Return what was reported since the last question, by first word and source."""
    caplog.set_level(logging.INFO, "astguard")

    def ask(*words):
        lines = [record.getMessage() for record in caplog.records]
        caplog.clear()
        return [line for line in lines if line.split()[0] in (words or {"ban", "unban", "expire"})]

    return ask
