"""Names on the allowlist, whose addresses change."""

from __future__ import annotations

import asyncio
import socket
import threading

from guard.core.address import parse_host
from guard.core.units import DAY, HOUR, SECOND
from guard.sensors import names as module
from guard.sensors.names import AT_ONCE, RECORDS_LIMIT, Names


class Watched(Names):
    """Names whose answers and whose clock the test gives."""

    def __init__(self, *names):
        self.changes = []
        self.told = asyncio.Event()
        self.answers = {}
        self.now = 5 * SECOND
        super().__init__(
            names,
            self.tell,
            mono_ns=lambda: self.now,
            resolve=self.resolve,
        )

    def tell(self, name, found):
        self.changes.append((name, found))
        self.told.set()

    def resolve(self, name):
        answer = self.answers.get(name, ())
        if isinstance(answer, Exception):
            raise answer
        return answer() if callable(answer) else answer

    def refresh_with(self, *tables, after=0):
        """Refresh once per given table of answers."""

        async def run():
            for table in tables:
                self.now += after
                self.answers = table
                await self.refresh()

        asyncio.run(run())


NO_ANSWER = socket.gaierror(-3, "Temporary failure in name resolution")


def hosts(*texts):
    return frozenset(map(parse_host, texts))


def lookups():
    return [thread for thread in threading.enumerate() if thread.name.startswith("look up")]


def test_new_addresses_of_a_name_are_told_once():
    watched = Watched("office.example")
    watched.refresh_with(
        {"office.example": ["192.0.2.1"]},
        {"office.example": ["192.0.2.1"]},
        {"office.example": ["192.0.2.2", "2001:db8::2"]},
    )
    assert watched.changes == [
        ("office.example", hosts("192.0.2.1")),
        ("office.example", hosts("192.0.2.2", "2001:db8::2")),
    ]
    assert watched.known["office.example"] == hosts("192.0.2.2", "2001:db8::2")


def test_the_last_good_answer_stays_when_the_resolver_fails():
    watched = Watched("office.example", "other.example")
    watched.refresh_with(
        {"office.example": ["192.0.2.1"], "other.example": ["192.0.2.9"]},
        {"office.example": NO_ANSWER, "other.example": []},
    )
    assert len(watched.changes) == 2
    assert watched.known["office.example"] == hosts("192.0.2.1")
    assert watched.failing == {"office.example", "other.example"}


def test_a_name_that_is_gone_for_a_day_loses_its_addresses_with_a_warning(caplog):
    watched = Watched("office.example")
    good, bad = {"office.example": ["192.0.2.1"]}, {"office.example": NO_ANSWER}
    watched.refresh_with(good)
    watched.refresh_with(*[bad] * 23, after=HOUR)
    watched.refresh_with(bad, after=HOUR - 1)
    assert (watched.known["office.example"], watched.unknown()) == (hosts("192.0.2.1"), [])
    watched.refresh_with(bad, bad, after=1)
    assert watched.changes == [("office.example", hosts("192.0.2.1")), ("office.example", hosts())]
    assert watched.unknown() == ["office.example"]
    assert caplog.messages == [
        "allow: office.example has no address (Temporary failure in name resolution); its last ones stay allowed for a day",
        (
            "allow: office.example has had no address for a day (Temporary failure in name resolution); its last ones are "
            "allowed no longer"
        ),
    ]
    watched.refresh_with(good)
    assert (watched.known["office.example"], watched.unknown()) == (hosts("192.0.2.1"), [])


def test_an_answer_in_between_makes_the_day_begin_anew():
    watched = Watched("office.example")
    good, bad = {"office.example": ["192.0.2.1"]}, {"office.example": NO_ANSWER}
    watched.refresh_with(good, bad, good, bad, after=DAY - 1)
    assert watched.changes == [("office.example", hosts("192.0.2.1"))]


def test_a_name_that_never_had_an_address_protects_nobody_and_is_said_to(caplog):
    watched = Watched("sip.example", "office.example")
    answers = {"sip.example": NO_ANSWER, "office.example": []}
    watched.refresh_with(answers, answers)
    assert watched.changes == []
    assert watched.unknown() == ["office.example", "sip.example"]
    assert sorted(caplog.messages) == [
        "allow: office.example has no address (an answer without a usable address); it protects nobody until it has one",
        "allow: sip.example has no address (Temporary failure in name resolution); it protects nobody until it has one",
    ]


def test_special_addresses_and_a_flood_of_records_open_no_door(caplog):
    many = [f"192.0.2.{number}" for number in range(1, 60)]
    watched = Watched("a.example")
    answer = {"a.example": ["127.0.0.1", "0.0.0.0", "::1", *many]}
    watched.refresh_with(answer, answer)
    ((_, found),) = watched.changes
    assert len(found) == RECORDS_LIMIT
    assert found <= hosts(*many)
    assert watched.cut == {"a.example": 43}
    assert caplog.messages == ["allow: a.example has 59 addresses; only the first 16 are allowed"]
    watched.refresh_with({"a.example": many[:2]})
    assert watched.cut == {}


def test_what_no_resolver_should_say_is_no_answer(caplog):
    watched = Watched("a.example", "b.example")
    watched.refresh_with({"a.example": ["not an address"], "b.example": UnicodeError("label too long")})
    assert watched.unknown() == ["a.example", "b.example"]


def test_a_resolver_that_hangs_holds_up_nobody_and_is_asked_again_when_it_lets_go(monkeypatch, caplog):
    # With the loop's own threads, four names that hang stop everything else that needs one, and the stop itself.
    monkeypatch.setattr(module, "PATIENCE", 0)
    let_go = threading.Event()
    watched = Watched(*(f"{number}.example" for number in range(AT_ONCE)), "good.example")

    def hang():
        assert let_go.wait(10)
        return ["192.0.2.1"]

    async def run():
        watched.answers = dict.fromkeys(watched.known, hang)
        await watched.refresh()
        assert len(lookups()) == AT_ONCE
        await watched.refresh()  # asks nobody who has not answered yet
        assert len(lookups()) == AT_ONCE
        assert await asyncio.to_thread(lambda: True), "other threads go on"
        assert watched.unknown() == sorted(watched.known)
        let_go.set()
        monkeypatch.setattr(module, "PATIENCE", 10.0)
        for thread in lookups():
            await asyncio.to_thread(thread.join)
        await watched.refresh()

    asyncio.run(run())
    assert watched.unknown() == []
    assert "allow: good.example has no address (no answer within 0 s); it protects nobody until it has one" in (
        caplog.messages
    )


def test_threads_of_a_resolver_that_hangs_do_not_hold_up_the_end(monkeypatch):
    monkeypatch.setattr(module, "PATIENCE", 0)
    let_go = threading.Event()
    watched = Watched("a.example")
    watched.refresh_with({"a.example": lambda: let_go.wait(10) and []})  # the loop is closed, the thread still hangs
    (thread,) = lookups()
    assert thread.daemon
    let_go.set()
    thread.join(10)
    assert not thread.is_alive()


def test_other_names_are_looked_up_at_once_and_those_that_stay_keep_their_answer():
    watched = Watched("a.example", "b.example")
    watched.answers = {"a.example": ["192.0.2.1"], "b.example": NO_ANSWER, "c.example": ["192.0.2.3"]}

    async def run():
        running = asyncio.create_task(watched.run())
        await watched.told.wait()
        watched.told.clear()
        watched.change(["a.example", "c.example"])
        assert watched.known == {"a.example": hosts("192.0.2.1"), "c.example": hosts()}
        assert watched.failing == set()
        await watched.told.wait()
        running.cancel()

    asyncio.run(run())
    assert watched.changes == [("a.example", hosts("192.0.2.1")), ("c.example", hosts("192.0.2.3"))]


def test_an_answer_for_a_name_that_is_no_longer_wanted_changes_nothing():
    watched = Watched("a.example")

    def answer():
        watched.change([])
        return ["192.0.2.1"]

    watched.refresh_with({"a.example": answer})
    assert (watched.changes, watched.known) == ([], {})


def test_the_systems_resolver_is_asked(monkeypatch, caplog):
    asked = []

    def getaddrinfo(name, port, **_):
        asked.append((name, port))
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 0))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    names = Names(["office.example"], lambda *_: None)
    asyncio.run(names.refresh())
    assert asked == [("office.example", None)]
    assert names.known == {"office.example": hosts("192.0.2.1")}
    assert caplog.messages == []
