"""The writing thread: what it says is on the disk is there, and what it cannot write it says, goes on, and catches up."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import threading
import time
from types import SimpleNamespace

import pytest

from guard.core.address import host
from guard.core.ban import Ban
from guard.core.rule import Evidence
from guard.core.units import DAY, HOUR, SECOND, Duration, Instant, Wall
from guard.store import place, writer
from guard.store.batch import write
from guard.store.opening import Claim
from guard.store.records import Allowed, Banned, Note, Rewrite, Strikes, Trusted
from guard.store.schema import connect
from guard.store.writer import Writer

SHIFT = Duration(1_800_000_000 * SECOND)


def banned(number):
    source = host(number.to_bytes(4, "big"))
    ban = Ban(source=source, rule="guessing", since=Instant(0), until=Instant(HOUR))
    return Banned(ban, SHIFT, Strikes(source, Evidence.PROVEN, 1, HOUR + SHIFT))


def everything(bans):
    return Rewrite(
        [one.ban for one in bans],
        SHIFT,
        [(one.ban.source, Evidence.PROVEN, 1, one.ban.until) for one in bans],
        {},
        [],
        {},
    )


class Desk:
    """Whoever puts records and hears of them."""

    def __init__(self, path, **options):
        self.path = path
        self.count, self.problem = 0, ""
        self.problems = []
        self.asked = threading.Event()
        self.changed = threading.Condition()
        self.writer = Writer(path, on_written=self.written, on_behind=self.asked.set, **options)

    def written(self, count, problem):
        with self.changed:
            self.count, self.problem = count, problem
            if problem:
                self.problems.append(problem)
            self.changed.notify_all()

    def until(self, true):
        with self.changed:
            assert self.changed.wait_for(true, 10), (self.count, self.problem)

    def sources(self):
        connection = sqlite3.connect(self.path)
        try:
            return {int.from_bytes(source[2:], "big") for (source,) in connection.execute("SELECT source FROM ban")}
        finally:
            connection.close()

    def history(self):
        connection = sqlite3.connect(self.path)
        try:
            return connection.execute("SELECT count(*) FROM history").fetchone()[0]
        finally:
            connection.close()


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(writer, "RETRY_FIRST", 0.05)
    monkeypatch.setattr(writer, "RETRY_LAST", 0.1)


@pytest.fixture
def desk(tmp_path):
    made = Desk(tmp_path / "state.db")
    made.writer.start()
    yield made
    assert made.writer.stop(10)


@pytest.fixture
def small(tmp_path):
    """A disk of 256 kB; the state on it."""
    if os.geteuid() != 0:
        pytest.skip("needs root to mount a small disk")
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", disk], check=True)
    made = Desk(disk / "state.db")
    made.writer.start()
    try:
        yield made
    finally:
        made.writer.stop(10)
        subprocess.run(["umount", "--lazy", disk], check=True)


def fill(folder):
    """Leave no byte free."""
    with (folder / "full").open("wb", buffering=0) as file:
        try:
            while file.write(b"\0" * 4096):
                pass
        except OSError:
            pass


def test_what_is_told_is_on_the_disk(desk):
    for number in range(100):
        desk.writer.put(banned(number))
    desk.until(lambda: desk.count == 100)
    assert desk.problem == ""
    assert desk.sources() == set(range(100))


def test_a_clock_that_is_set_a_year_ahead_has_nothing_forgotten(desk, monkeypatch):
    # What a command had allowed for hours was gone after a minute of a wrong clock, and with it history and trust.
    wall = Wall(time.time_ns())
    desk.writer.put(Allowed(host(b"\xcb\x00\x71\x07"), Wall(wall + HOUR), wall))
    desk.writer.put(Trusted(host(b"\xcb\x00\x71\x08"), "101", wall))
    desk.until(lambda: desk.count == 2)
    ahead = SimpleNamespace(monotonic=time.monotonic, monotonic_ns=time.monotonic_ns, time_ns=lambda: wall + 365 * DAY)
    monkeypatch.setattr(writer, "time", ahead)
    monkeypatch.setattr(writer, "TIDY_ROWS", 1)
    desk.writer.put(banned(1))
    desk.until(lambda: desk.count == 3)
    desk.writer.put(banned(2))  # the tidying behind the last one is over then
    desk.until(lambda: desk.count == 4)
    with sqlite3.connect(desk.path) as file:
        assert file.execute("SELECT count(*) FROM permit").fetchone() == (1,)
        assert file.execute("SELECT count(*) FROM trust").fetchone() == (1,)


def test_what_comes_together_goes_together_unless_somebody_waits(desk, monkeypatch):
    monkeypatch.setattr(writer, "GROUP", 60.0)
    desk.writer.put(banned(1))
    desk.until(lambda: desk.count == 1)
    for number in (2, 3, 4):
        desk.writer.put(banned(number))
    started = time.monotonic()
    desk.writer.hurry()
    desk.until(lambda: desk.count == 4)
    assert time.monotonic() - started < 30
    assert desk.writer.commits <= 3


def test_a_stop_writes_what_waits(tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "GROUP_LIMIT", 100)
    desk = Desk(tmp_path / "state.db")
    for number in range(1_000):
        desk.writer.put(banned(number))
    desk.writer.start()
    assert desk.writer.stop(10)
    assert len(desk.sources()) == 1_000


def test_a_full_disk_is_told_and_caught_up_with_when_there_is_room(small):
    small.writer.put(banned(1))
    small.until(lambda: small.count == 1)
    fill(small.path.parent)
    bans = [banned(number) for number in range(1, 400)]
    for one in bans[1:]:
        small.writer.put(one)
    small.until(lambda: small.problem and small.count == 399)
    assert "full" in small.problem
    (small.path.parent / "full").unlink()
    assert small.asked.wait(10)
    small.writer.put(everything(bans))
    small.until(lambda: not small.problem)
    assert small.sources() == set(range(1, 400))
    assert small.history() == 399  # those of the time without a disk, too


def test_what_was_on_a_disk_that_is_full_can_still_be_read(small):
    """After kill -9 nobody has closed the file: its log holds what was written, and there is no room for the index."""
    assert small.writer.stop(10)
    child = os.fork()
    if child == 0:
        connection = connect(small.path)
        write(connection, [banned(number) for number in range(100)])
        os._exit(0)
    os.waitpid(child, 0)
    small.path.with_name("state.db-shm").unlink()
    fill(small.path.parent)
    claim = Claim(small.path)
    state = claim.read(Wall(SHIFT), Instant(0))
    claim.release()
    assert len(state.bans) == 100
    assert "disk" in claim.problem


def test_too_many_records_are_refused_and_all_is_written_anew(desk, monkeypatch):
    monkeypatch.setattr(writer, "QUEUE_LIMIT", 10)
    with desk.writer._wakeup:  # the disk takes its time
        for number in range(10):
            assert desk.writer.put(banned(number))
        assert not desk.writer.put(banned(10))
    assert desk.writer.overflows == 1
    assert desk.asked.wait(10)
    desk.writer.put(everything([banned(number) for number in range(11)]))
    desk.until(lambda: desk.count == 11 and not desk.problem)
    assert desk.sources() == set(range(11))


def test_a_file_that_somebody_took_away_is_made_again(desk):
    desk.writer.put(banned(1))
    desk.until(lambda: desk.count == 1)
    for name in ("", "-wal", "-shm"):
        desk.path.with_name(desk.path.name + name).unlink()
    desk.writer.put(banned(2))
    desk.until(lambda: desk.problem)
    assert "was taken away" in desk.problem
    assert desk.asked.wait(10)
    desk.writer.put(everything([banned(1), banned(2)]))
    desk.until(lambda: not desk.problem)
    assert desk.sources() == {1, 2}


def test_a_file_that_gets_damaged_is_set_aside(desk, caplog):
    for number in range(3_000):
        desk.writer.put(banned(number))
    desk.until(lambda: desk.count == 3_000)
    connection = sqlite3.connect(desk.path)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    connection.close()
    with desk.path.open("r+b") as file:
        size = file.seek(0, 2)
        file.seek(4096)
        file.write(os.urandom(size - 4096))
    number = 3_000
    while not desk.asked.is_set():
        desk.writer.put(banned(number))
        number += 1
        desk.asked.wait(0.05)
    desk.writer.put(everything([banned(number)]))
    desk.until(lambda: not desk.problem)
    assert "is damaged; it is kept as state.db.damaged-" in caplog.text
    assert desk.sources() == {number}


def test_a_file_that_could_not_be_read_is_not_written_over(tmp_path):
    path = tmp_path / "state.db"
    place.make_file(path)
    path.write_bytes(b"precious")
    desk = Desk(path, behind="it could not be read", unread="unread")
    desk.writer.start()
    assert desk.asked.wait(10)
    desk.writer.put(everything([banned(7)]))
    desk.until(lambda: desk.count == 1 and not desk.problem)
    assert desk.writer.stop(10)
    (aside,) = tmp_path.glob("state.db.unread-*")
    assert aside.read_bytes() == b"precious"
    assert desk.sources() == {7}


def test_a_record_that_cannot_be_written_stops_nobody(desk, caplog):
    desk.writer.put(Note("key", 1 << 70))
    desk.until(lambda: desk.problem)
    assert "please report this" in caplog.text
    assert desk.asked.wait(10)
    desk.writer.put(everything([banned(7)]))
    desk.until(lambda: not desk.problem)
    assert desk.sources() == {7}


def test_while_the_disk_refuses_no_more_is_kept_than_is_allowed(small, monkeypatch):
    monkeypatch.setattr(writer, "KEPT_LIMIT", 50)
    monkeypatch.setattr(writer, "RETRY_FIRST", 60.0)
    small.writer._retry_in = 60.0
    fill(small.path.parent)
    for number in range(500):
        small.writer.put(banned(number))
    small.until(lambda: small.count == 500)
    assert small.problem
    assert len(small.writer._kept) == 50
    assert small.writer.dropped == 450
