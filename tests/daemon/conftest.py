"""What several tests of the daemon begin with."""

from __future__ import annotations

import logging

import pytest

from tests.daemon.house import House


@pytest.fixture
def house():
    return House()


@pytest.fixture
def said(caplog):
    """Return what was reported since the last question, by first word and source."""
    caplog.set_level(logging.INFO, "astguard")

    def ask(*words):
        lines = [record.getMessage() for record in caplog.records]
        caplog.clear()
        return [line for line in lines if line.split()[0] in (words or {"ban", "unban", "expire"})]

    return ask
