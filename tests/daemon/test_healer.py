"""The healer where the system lets it do little."""

from __future__ import annotations

import asyncio
import os
from types import SimpleNamespace

from guard.daemon.healer import Healer
from tests.daemon.linking import run, until


def test_a_filter_that_forbids_to_stand_back_does_not_end_the_healing(monkeypatch, caplog):
    """systemd's ~@resources refuses setpriority; found under the shipped unit, where nothing was healed any more."""

    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "setpriority", refuse)
    firewall = SimpleNamespace(listing=lambda: iter([]), watch=lambda: None)
    enforcer = SimpleNamespace(firewall=firewall, check=lambda: None)

    async def story():
        healer = Healer(enforcer, loop=asyncio.get_running_loop())
        task = asyncio.create_task(healer.run())
        await until(lambda: healer.adopted or task.done())
        assert healer.adopted
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run(story())
    assert caplog.records == []
