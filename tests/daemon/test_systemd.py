"""What systemd hears of the daemon, at a real socket: up, how it goes, still turning, stopping; and a hang is silence."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest

from guard.core.units import Instant
from guard.daemon.systemd import STATUS_LIMIT, Systemd
from tests.daemon.linking import SECRET
from tests.daemon.test_service import TREE, configure

PID = 4711


@contextmanager
def manager(folder):
    """Play systemd: a bound socket and the variables that name it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.settimeout(10)
        heard.bind(str(folder / "notify"))
        yield heard, {"NOTIFY_SOCKET": str(folder / "notify")}


def lines(heard):
    return heard.recv(4096).decode().split("\n")


def hear_all(heard):
    while heard.recv(4096):
        pass


def test_ready_reloading_and_stopping_are_told_word_for_word(tmp_path):
    with manager(tmp_path) as (heard, environment):
        systemd = Systemd(environment, PID)
        systemd.ready()
        systemd.reloading(Instant(1_234_567_890))
        systemd.stopping()
        said = [lines(heard) for _ in range(3)]
        systemd.close()
    assert said == [["READY=1"], ["RELOADING=1", "MONOTONIC_USEC=1234567"], ["STOPPING=1"]]


def test_no_child_inherits_the_word(tmp_path):
    with manager(tmp_path) as (_, environment):
        environment |= {"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(PID), "HOME": "/"}
        Systemd(environment, PID).close()
    assert environment == {"HOME": "/"}


@pytest.mark.parametrize(
    ("microseconds", "pid", "every", "fed"),
    [
        ("3000000", str(PID), 1.0, True),
        ("90000000", str(PID), 10.0, True),
        ("3000000", str(PID + 1), 10.0, False),  # meant for another process
        ("0", str(PID), 10.0, False),
        ("soon", str(PID), 10.0, False),
        ("-3", str(PID), 10.0, False),
    ],
)
def test_the_watchdog_is_fed_three_times_as_often_as_it_wants(tmp_path, microseconds, pid, every, fed):
    async def once(systemd):
        task = asyncio.create_task(systemd.run(lambda: "fine"))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    with manager(tmp_path) as (heard, environment):
        systemd = Systemd(environment | {"WATCHDOG_USEC": microseconds, "WATCHDOG_PID": pid}, PID)
        asyncio.run(once(systemd))
        said = lines(heard)
        systemd.close()
    assert systemd.every == every
    assert said == ["STATUS=fine", "WATCHDOG=1"] if fed else ["STATUS=fine"]


def test_a_status_cannot_say_more_than_a_status(tmp_path):
    async def once(systemd):
        task = asyncio.create_task(systemd.run(lambda: "x\nMAINPID=1\x1b" + "y" * 5000))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    with manager(tmp_path) as (heard, environment):
        systemd = Systemd(environment, PID)
        asyncio.run(once(systemd))
        (said,) = lines(heard)
        systemd.close()
    assert len(said) <= len("STATUS=") + STATUS_LIMIT
    assert said.startswith("STATUS=x\\nMAINPID=1\\x1b")


def test_without_systemd_nothing_is_told_and_the_job_ends():
    systemd = Systemd({}, PID)
    systemd.ready()
    systemd.stopping()
    asyncio.run(systemd.run(lambda: "fine"))
    assert systemd.lost == 0


def test_a_manager_that_does_not_read_or_is_gone_stops_nothing(tmp_path):
    with manager(tmp_path) as (_, environment):
        systemd = Systemd(environment, PID)
    systemd.stopping()
    systemd.close()
    assert systemd.lost == 1


def test_an_abstract_socket_is_understood():
    name = f"astguard-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.settimeout(10)
        heard.bind(f"\0{name}")
        systemd = Systemd({"NOTIFY_SOCKET": f"@{name}"}, PID)
        systemd.ready()
        assert lines(heard) == ["READY=1"]
        systemd.close()


@contextmanager
def daemon(folder, environment):
    config = configure(folder, 1, secret=SECRET)
    command = [sys.executable, "-m", "guard", "run", "--config", config]
    with subprocess.Popen(command, cwd=TREE, env=os.environ | environment, stderr=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


def test_the_daemon_is_up_before_it_says_so_and_says_that_it_stops(tmp_path):
    with manager(tmp_path) as (heard, environment), daemon(tmp_path, environment) as process:
        said = lines(heard)
        while said != ["READY=1"]:
            said = lines(heard)
        assert (tmp_path / "control.sock").exists()
        said = lines(heard)
        assert said[0].startswith("STATUS=enforce, link ")
        assert ", 0 bans" in said[0]
        process.send_signal(signal.SIGTERM)
        while said != ["STOPPING=1"]:
            said = lines(heard)
        assert process.wait(10) == 0


@pytest.mark.parametrize("mistake", ["", "mode: maybe\n"])
def test_a_reload_is_told_from_its_beginning_to_its_end_also_if_nothing_comes_of_it(tmp_path, mistake):
    """Type=notify-reload waits for both, in this order and with the time of the first."""
    with manager(tmp_path) as (heard, environment), daemon(tmp_path, environment) as process:
        while lines(heard) != ["READY=1"]:
            pass
        with (tmp_path / "astguard.yaml").open("a") as config:
            config.write(mistake)
        before = time.monotonic_ns() // 1000
        process.send_signal(signal.SIGHUP)
        said = lines(heard)
        while said[0] != "RELOADING=1":
            said = lines(heard)
        name, _, at = said[1].partition("=")
        assert (name, before <= int(at) <= time.monotonic_ns() // 1000) == ("MONOTONIC_USEC", True)
        while said != ["READY=1"]:
            said = lines(heard)
        assert process.poll() is None


def test_a_daemon_that_hangs_feeds_no_watchdog_and_its_end_tells_where_it_stood(tmp_path):
    with (
        manager(tmp_path) as (heard, environment),
        daemon(tmp_path, environment | {"WATCHDOG_USEC": "300000"}) as process,
    ):
        fed = 0
        while fed < 5:
            fed += "WATCHDOG=1" in lines(heard)
        process.send_signal(signal.SIGSTOP)
        heard.settimeout(0.5)  # five times the interval
        with pytest.raises(TimeoutError):
            hear_all(heard)  # what was on its way
        process.send_signal(signal.SIGABRT)  # as systemd does
        process.send_signal(signal.SIGCONT)
        assert process.wait(10) == -signal.SIGABRT
        assert b"Fatal Python error: Aborted" in process.stderr.read()
