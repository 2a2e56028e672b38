"""The state file: what goes in comes out, whatever the clock does meanwhile, and what is wrong in it is left out."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
import subprocess
import sys

import pytest

from guard.core.address import parse_host, parse_source
from guard.core.ban import Ban
from guard.core.event import Kind, Service, Transport
from guard.core.outcome import Outcome
from guard.core.rule import Evidence, Scope
from guard.core.trail import Trace
from guard.core.units import DAY, HOUR, MINUTE, SECOND, Instant
from guard.errors import StoreError, StoreUnreadable
from guard.store import batch, place
from guard.store.batch import tidy, write
from guard.store.history import read_history
from guard.store.opening import Claim
from guard.store.records import (
    Allowed,
    Banned,
    Disallowed,
    Ended,
    Learnt,
    Memory,
    Note,
    Rewrite,
    Strikes,
    Trusted,
    What,
)
from guard.store.schema import STEPS, VERSION, connect
from guard.store.state import read_trail

NOW = Instant(500 * HOUR)
WALL = 1_800_000_000 * SECOND
SHIFT = WALL - NOW
ONE, TWO, OFFICE = parse_source("198.51.100.7"), parse_source("2001:db8:5::/64"), parse_source("192.0.2.0/24")
HOSTILE = "\ud800<b>\x1b[31m\0'; DROP TABLE ban; --\u202e"


def ban(source=ONE, *, since=NOW, lasting=HOUR, **fields):
    given = {
        "rule": "guessing",
        "scope": Scope.SIP,
        "evidence": Evidence.UNPROVEN,
        "strike": 2,
        "offences": 5,
        "events": 23,
    }
    return Ban(source=source, since=Instant(since), until=Instant(since + lasting), **(given | fields))


def banned(one, trail=(), times=2):
    return Banned(one, SHIFT, Strikes(one.source, one.evidence, times, one.until + SHIFT), trail)


def ended(one, what=What.UNBAN, at=WALL, times=1):
    return Ended(one, SHIFT, what, at, Strikes(one.source, one.evidence, times, at))


@pytest.fixture
def path(tmp_path):
    made = tmp_path / "state" / "astguard.db"
    place.make_folder(made)
    place.make_file(made)
    return made


@pytest.fixture
def file(path):
    connection = connect(path)
    yield connection
    connection.close()


@pytest.fixture
def found(tmp_path, path):
    """Read the file as a start does."""
    claims = []

    def read(wall=WALL, now=NOW):
        claims.append(Claim(path))
        try:
            return claims[-1].read(wall, now)
        finally:
            claims[-1].release()

    return read


def rows(connection, query):
    return connection.execute(query).fetchall()


def test_a_ban_comes_back_as_it_was(file, found):
    hand = ban(TWO, rule="manual", reason="toll fraud", origin="manual", by="command", scope=Scope.ALL, strike=1)
    write(file, [banned(ban()), banned(hand)])
    assert found().bans == [ban(), hand]


@pytest.mark.parametrize(
    ("later", "left"),
    [(20 * MINUTE, 40 * MINUTE), (0, HOUR), (-10 * MINUTE, HOUR), (-400 * DAY, HOUR), (HOUR - 1, 1)],
)
def test_a_ban_has_never_more_time_left_than_its_own_length(file, found, later, left):
    """The clock may have gone back; the host's clock counts from another instant after a reboot."""
    write(file, [banned(ban())])
    now = Instant(30 * SECOND)
    state = found(WALL + later, now)
    (back,) = state.bans
    assert (back.until - now, back.until - back.since) == (left, HOUR)
    assert state.moved is (later < 0)


@pytest.mark.parametrize("later", [HOUR, HOUR + 1, 5000 * DAY])
def test_a_ban_whose_time_has_passed_is_over_since_then(file, found, later):
    write(file, [banned(ban())])
    state = found(WALL + later, Instant(5))
    assert state.bans == []
    (over,) = state.over
    assert (over.ban.source, over.what, over.at) == (ONE, What.EXPIRE, WALL + HOUR)


def test_what_a_ban_led_to_is_in_the_history(file):
    write(file, [banned(ban()), ended(ban())])
    write(file, [banned(ban()), ended(ban(), What.EXPIRE, WALL + HOUR)])
    assert rows(file, "SELECT what, at, source FROM history ORDER BY id") == [
        ("ban", WALL, ONE), ("unban", WALL, ONE), ("ban", WALL, ONE), ("expire", WALL + HOUR, ONE),
    ]  # fmt: skip
    assert rows(file, "SELECT * FROM ban") == []


def test_the_last_record_of_a_source_decides(file, found):
    write(file, [banned(ban()), ended(ban()), banned(ban(strike=3), times=3)])
    assert [back.strike for back in found().bans] == [3]
    write(file, [banned(ban(TWO)), ended(ban(TWO)), ended(ban())])
    assert found().bans == []


def test_events_that_led_to_a_ban_are_kept_as_data(file):
    trace = Trace(
        WALL, Kind.CHALLENGE_RESPONSE_FAILED, Service.PJSIP, HOSTILE, HOSTILE, ONE, Transport.UDP, 5060, Outcome.COUNTED
    )
    write(file, [banned(ban(reason=HOSTILE), (trace, trace))])
    ((trail, reason),) = rows(file, "SELECT trail, reason FROM history")
    assert trail.isascii()
    first, second = json.loads(trail)
    assert first == second
    assert (first["account"], first["source"], first["port"]) == (HOSTILE, "198.51.100.7/32", 5060)
    assert "DROP TABLE" in reason


@pytest.mark.parametrize("wrong", ["", "{", "5", "[5]", "[" * 100_000])
def test_a_trail_that_is_none_is_an_empty_one(file, path, wrong):
    write(file, [banned(ban())])
    assert read_trail(path, ONE) == read_trail(path, TWO) == []
    file.execute("UPDATE history SET trail = ?", (wrong,))
    assert read_trail(path, ONE) == []


def test_the_trail_of_the_last_ban_is_read(file, path):
    def trace(account):
        return Trace(
            WALL, Kind.CHALLENGE_RESPONSE_FAILED, Service.PJSIP, account, "s", ONE, Transport.UDP, 5060, Outcome.FOLDED
        )

    write(file, [banned(ban(), [trace("old")]), ended(ban()), banned(ban(), [trace("new")])])
    assert [entry["account"] for entry in read_trail(path, ONE)] == ["new"]


def test_strikes_come_back_and_a_lifted_ban_takes_them_off(file, found):
    write(file, [banned(ban())])
    assert found().strikes == []  # it stands in the ban
    write(file, [ended(ban(), What.EXPIRE, times=2)])
    assert found().strikes == [(ONE, Evidence.UNPROVEN, 2, NOW)]
    write(file, [banned(ban()), ended(ban(), times=0)])
    assert found().strikes == []


def test_what_was_lifted_early_is_known_until_it_would_have_ended(file, found):
    write(file, [banned(ban()), ended(ban()), banned(ban(TWO)), ended(ban(TWO), What.EXPIRE)])
    assert found(WALL + MINUTE, NOW + MINUTE).lifted == {ONE: NOW + HOUR}
    assert found(WALL + HOUR, NOW + HOUR).lifted == {}


def test_trust_ports_permits_and_notes_come_back(file, found):
    write(
        file,
        [
            Trusted(OFFICE, "101", WALL - HOUR), Trusted(OFFICE, HOSTILE, WALL - MINUTE), Trusted(ONE, "9", WALL - DAY),
            Learnt(5070, False), Learnt(8089, True),
            Allowed(OFFICE, None, WALL), Allowed(ONE, WALL + HOUR, WALL), Allowed(TWO, WALL - 1, WALL), Disallowed(OFFICE),
            Note("paused", "until noon"), Note("other", "x"), Note("other", None),
        ],
    )  # fmt: skip
    state = found()
    assert [(site, at) for site, _, at in state.trust] == [(OFFICE, NOW - HOUR), (OFFICE, NOW - MINUTE)]
    assert state.ports == [(5070, False), (8089, True)]
    assert state.permits == [Allowed(ONE, WALL + HOUR, WALL)]
    assert state.notes == {"paused": "until noon"}


def test_trust_from_the_future_is_of_now(file, found):
    write(file, [Trusted(OFFICE, "101", WALL + DAY)])
    assert found().trust == [(OFFICE, "101", NOW)]


def test_what_a_clean_stop_leaves_takes_the_place_of_what_the_one_before_left(file, found):
    write(file, [Memory(['["old",1]'], [])])
    write(file, [Memory(['["new",1]', '["new",2]'], [Strikes(ONE, Evidence.PROVEN, 4, WALL)])])
    state = found()
    assert state.memory == [["new", 1], ["new", 2]]
    assert state.strikes == [(ONE, Evidence.PROVEN, 4, NOW)]


def test_all_that_is_true_takes_the_place_of_what_stands_there(file, found):
    write(file, [banned(ban()), Allowed(OFFICE, None, WALL), Note("paused", "x"), Learnt(5070, False)])
    whole = Rewrite(
        [ban(TWO)],
        SHIFT,
        [(TWO, Evidence.PROVEN, 1, NOW)],
        {ONE: Allowed(ONE, None, WALL)},
        [Learnt(5080, True)],
        {},
    )
    write(file, [ended(ban()), whole, banned(ban(parse_source("203.0.113.9")))])
    state = found()
    assert {back.source for back in state.bans} == {TWO, parse_source("203.0.113.9")}
    assert (state.permits, state.ports, state.notes) == ([Allowed(ONE, None, WALL)], [(5080, True)], {})
    assert [what for (what,) in rows(file, "SELECT what FROM history ORDER BY id")] == ["ban", "unban", "ban"]


def test_nothing_of_a_group_is_written_if_one_part_fails(file):
    wrong = Trusted(OFFICE, "101", 1 << 70)  # no file can hold that
    with pytest.raises(OverflowError):
        write(file, [banned(ban()), wrong])
    assert rows(file, "SELECT * FROM ban") == rows(file, "SELECT * FROM history") == []
    assert not file.in_transaction


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE ban SET source = x'0420c633640708'",
        "UPDATE ban SET source = x'0418c6336407'",
        "UPDATE ban SET source = x''",
        "UPDATE ban SET source = x'0521c6336407'",
        "UPDATE ban SET since = until + 1",
        "UPDATE ban SET scope = 'none'",
        "UPDATE ban SET evidence = ''",
    ],
)
def test_a_row_that_cannot_be_right_is_left_out_and_counted(file, found, damage):
    write(file, [banned(ban())])
    file.execute(damage)
    write(file, [banned(ban(TWO))])
    state = found()
    assert [back.source for back in state.bans] == [TWO]
    assert state.refused == 1


def test_memory_that_is_no_json_or_far_too_deep_is_left_out(file, found):
    write(file, [Memory(["{", "[" * 100_000, "[1]"], [])])
    state = found()
    assert (state.memory, state.refused) == ([[1]], 2)


def test_the_history_is_bounded_by_age_and_rows(file, monkeypatch):
    monkeypatch.setattr(batch, "HISTORY_LIMIT", 5)
    old = [ended(ban(), at=WALL - batch.HISTORY_LASTS - 1)] * 3
    write(file, [*old, *[ended(ban())] * 4])
    assert tidy(file, WALL) == 0
    assert len(rows(file, "SELECT * FROM history")) == 4
    write(file, [ended(ban())] * 4)
    assert tidy(file, WALL) == 3
    assert len(rows(file, "SELECT * FROM history")) == 5


def test_strikes_and_trust_are_bounded_the_oldest_go(file, monkeypatch):
    monkeypatch.setattr(batch, "STRIKES_LIMIT", 3)
    monkeypatch.setattr(batch, "TRUST_LIMIT", 2)
    hosts = [parse_host(f"203.0.113.{n}") for n in range(6)]
    many = [Strikes(host, Evidence.PROVEN, 1, WALL + n) for n, host in enumerate(hosts)]
    write(file, [Memory([], many), *(Trusted(host, "1", WALL + n) for n, host in enumerate(hosts))])
    assert tidy(file, WALL) == 3 + 4
    assert {host for (host,) in rows(file, "SELECT source FROM strike")} == set(hosts[3:])
    assert {host for (host,) in rows(file, "SELECT site FROM trust")} == set(hosts[4:])


def test_a_file_that_was_full_once_does_not_grow_by_what_is_forgotten(file, path, monkeypatch):
    monkeypatch.setattr(batch, "HISTORY_LIMIT", 500)
    sizes = []
    for _ in range(12):
        for _ in range(10):
            write(file, [ended(ban())] * 100)
            tidy(file, WALL)
        file.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        sizes.append(path.stat().st_size)
    assert max(sizes[4:]) <= max(sizes[:4])


def test_the_file_is_for_nobody_else(path, file):
    write(file, [banned(ban())])
    for name in ("", "-wal", "-shm", ".lock"):
        if name == ".lock":
            os.close(place.lock(path))
        part = path.with_name(path.name + name)
        assert stat.S_IMODE(part.stat().st_mode) == 0o600, name
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_file_that_others_could_read_is_closed_to_them(path, found):
    path.chmod(0o644)
    found()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


# Versions.


def test_a_file_of_the_version_before_is_brought_up_and_loses_nothing(tmp_path, found, path):
    old = sqlite3.connect(path)
    old.executescript(STEPS[0] + "PRAGMA user_version = 1;")
    old.execute(
        f"INSERT INTO ban VALUES (?, 'guessing', {WALL}, {WALL + HOUR}, 'sip', 'unproven', 2, 5, 23, '', 'rule', 'event')",
        (ONE,),
    )
    old.commit()
    old.close()
    state = found()
    assert [back.source for back in state.bans] == [ONE]
    connection = connect(path)
    assert rows(connection, "PRAGMA user_version") == [(VERSION,)]
    write(connection, [Learnt(5070, False)])
    connection.close()
    assert found().ports == [(5070, False)]


def newer(path, readable_by):
    """Make a file as a later version might: with a column, and a table, that this one does not know."""
    connection = connect(path)
    write(connection, [banned(ban())])
    connection.executescript(
        "ALTER TABLE ban ADD COLUMN country TEXT NOT NULL DEFAULT ''; ALTER TABLE strike ADD COLUMN more INTEGER;"
        "ALTER TABLE history ADD COLUMN more TEXT; ALTER TABLE trust ADD COLUMN more TEXT;"
        "ALTER TABLE permit ADD COLUMN more TEXT; ALTER TABLE port ADD COLUMN more TEXT;"
        "CREATE TABLE feed (name TEXT); INSERT INTO feed VALUES ('mine');"
        f"UPDATE meta SET value = {readable_by} WHERE key = 'readable_by'; PRAGMA user_version = {VERSION + 1};"
    )
    connection.close()


def test_one_version_down_works_and_leaves_alone_what_the_later_one_added(path, found):
    newer(path, readable_by=VERSION)
    assert found().bans == [ban()]
    connection = connect(path)
    write(
        connection,
        [
            banned(ban(TWO)), Trusted(OFFICE, "1", WALL), Learnt(5070, True), Allowed(ONE, None, WALL), Note("a", "b"),
            Memory(["[1]"], []),
        ],
    )  # fmt: skip
    assert rows(connection, "PRAGMA user_version") == [(VERSION + 1,)]
    assert rows(connection, "SELECT name FROM feed") == [("mine",)]
    connection.close()
    assert found().bans == [ban(), ban(TWO)]


def test_a_file_of_a_version_too_new_is_set_aside_and_named(path, found, caplog):
    newer(path, readable_by=VERSION + 1)
    before = path.read_bytes()
    state = found()
    assert state.bans == []
    assert state.aside.name.startswith("astguard.db.newer-")
    assert state.aside.read_bytes() == before
    assert f"newer astguard (version {VERSION + 1}, this one reads up to {VERSION})" in caplog.text
    assert f"it is kept as {state.aside.name}, and what the kernel holds is taken over" in caplog.text


@pytest.mark.parametrize("content", [b"no database at all\n" * 100, b"\0" * 8192, os.urandom(4096)])
def test_what_is_no_state_is_set_aside(path, found, content):
    path.write_bytes(content)
    state = found()
    assert state.aside.name.startswith("astguard.db.damaged-")
    assert state.aside.read_bytes() == content
    assert not path.exists()


def test_a_database_of_somebody_else_is_set_aside(path, found):
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE songs (title TEXT)")
    other.close()
    assert found().aside.name.startswith("astguard.db.foreign-")


def test_a_file_with_damaged_pages_is_set_aside_with_its_log(path, found):
    connection = connect(path)
    write(connection, [banned(ban(parse_host(f"10.{n >> 8}.{n & 255}.1"))) for n in range(2_000)])
    connection.close()
    data = bytearray(path.read_bytes())
    data[4096 : 40 * 4096] = os.urandom(39 * 4096)
    path.write_bytes(data)
    state = found()
    assert state.bans == []
    assert state.aside.read_bytes() == bytes(data)
    assert found().aside is None  # a new one was made


def test_two_files_set_aside_in_one_second_have_two_names(path):
    for name in ("astguard.db.damaged-1", "astguard.db.damaged-1.2", "astguard.db.damaged-1.3"):
        place.make_file(path)
        assert place.set_aside(path, "damaged", "1").name == name


# The place.


def test_a_second_process_is_refused_and_the_first_is_named(path):
    script = f"import sys; from pathlib import Path; from guard.store import place; place.lock(Path({str(path)!r})); print(flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        with pytest.raises(
            StoreError, match=rf"another astguard \(process {other.pid}\) runs on the state .*stop it first"
        ):
            place.lock(path)
        other.kill()
        other.wait()
    os.close(place.lock(path))  # the lock is gone with its holder


def test_a_missing_folder_is_made_if_it_is_the_last_one(tmp_path):
    place.make_folder(tmp_path / "astguard" / "astguard.db")
    assert (tmp_path / "astguard").is_dir()
    with pytest.raises(StoreError, match=r"there is no folder .*/a/b for the state.*mkdir -p"):
        place.make_folder(tmp_path / "a" / "b" / "astguard.db")


def test_a_folder_that_is_a_file_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="is no folder"):
        place.make_folder(tmp_path / "file" / "astguard.db")


def test_a_link_in_place_of_the_file_is_not_followed(path, tmp_path):
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError):
        place.make_file(path)
    assert not (tmp_path / "elsewhere").exists()


def test_a_state_held_by_another_program_is_told_and_not_set_aside(path, found, monkeypatch):
    monkeypatch.setattr("guard.store.schema.BUSY_SECONDS", 0)
    connection = connect(path)
    write(connection, [banned(ban())])
    connection.close()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("PRAGMA locking_mode = EXCLUSIVE")
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StoreError, match="is held by another program"):
        found()
    other.close()
    assert found().bans == [ban()]


def test_an_unreadable_kind_is_one_word():
    assert StoreUnreadable("damaged", "x").kind == "damaged"


# The past.


def test_the_past_has_each_ban_with_how_it_ended(file, path):
    write(file, [banned(ban(strike=1)), banned(ban(strike=2)), ended(ban(strike=2)), banned(ban(TWO, strike=1))])
    past = list(read_history(path, WALL))
    assert [(one.source, one.strike, one.ended) for one in past] == [
        (TWO, 1, None), (ONE, 2, "unban"), (ONE, 1, "replace"),
    ]  # fmt: skip
    over = list(read_history(path, past[0].until))
    assert [(one.source, one.ended) for one in over] == [(TWO, "expire"), (ONE, "unban"), (ONE, "replace")]
    assert over[0].ended_at == over[0].until


def test_a_row_of_the_past_that_cannot_be_right_is_left_out(file, path):
    write(file, [banned(ban()), banned(ban(TWO))])
    file.execute("UPDATE history SET source = ? WHERE id = 1", (b"nonsense",))
    assert [one.source for one in read_history(path, WALL)] == [TWO]


def test_the_past_of_a_file_that_is_none_is_an_error(tmp_path):
    (tmp_path / "state.db").write_text("no database at all, but long enough to be looked at as one")
    with pytest.raises(sqlite3.Error):
        list(read_history(tmp_path / "state.db", WALL))


def test_a_state_whose_schema_is_no_text_is_damaged(tmp_path):
    # The start failed with a UnicodeDecodeError, of the message in which SQLite quotes the schema.
    path = tmp_path / "state.db"
    place.make_file(path)
    connection = connect(path)
    connection.execute("PRAGMA journal_mode = DELETE")
    connection.close()
    data = path.read_bytes()
    assert b"CREATE TABLE note" in data
    path.write_bytes(data.replace(b"CREATE TABLE note", b"CREATE TABLE \xffo \xff"))
    with pytest.raises(StoreUnreadable, match="damaged"):
        connect(path)
