"""Attempts under way as rows, and back: sessions with their requests, what is held, what waits for AMI to tell it too.

A request that is held may have been forgotten by its session, and counts all the same when its time is over: such a
one has a row of its own. What is held counts in the order in which it was held, so that order is kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from guard.core.address import site
from guard.core.event import Kind
from guard.core.sender import ANSWERS_LIMIT, Request, Sender, Session, State
from guard.core.units import Instant

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from guard.core.address import Source
    from guard.core.generations import Generations
    from guard.core.plain import Reader, Row, Value

Told = tuple[Instant, Session, Kind, int]
"""A line of the log that waits until then for AMI to tell the same: its session, and which one of its kind it is."""


def dump(senders: Generations[Source, Sender], held: Collection[Request], told: Collection[Told]) -> Iterator[Row]:
    """Give all sessions, then what is held or waits and belongs to none of them."""
    places = {id(request): place for place, request in enumerate(held) if request.state is State.OPEN}
    names: dict[int, tuple[Source, str]] = {}
    for home, sender in senders.items():
        for key, session in sender.sessions.items():
            names[id(session)] = home, key
            mine = tuple(places.pop(id(request), -1) for request in session.requests.values())
            yield "session", home, key, mine, *session.dump()
    for request in held:
        place = places.get(id(request))
        if place is not None:
            yield "held", site(request.event.source), request.event.session, place, request.dump()
    for due, session, kind, number in told:
        if id(session) in names:
            yield "told", *names[id(session)], due, kind, number


class Recall:
    """Takes rows back into `senders`; what was held comes by `finish`, when all rows have been read."""

    def __init__(self, senders: Generations[Source, Sender]) -> None:
        self._senders = senders
        self._held: list[tuple[int, Request]] = []
        self._told: list[Told] = []

    def restore(self, row: Sequence[Value], read: Reader) -> None:
        """Take back a row."""
        match row:
            case ["session", home, key, places, *values]:
                session = self._session(read.source(home), read.text(key))
                session.restore(values, read)
                for place, request in zip(read.many(places, ANSWERS_LIMIT), session.requests.values(), strict=True):
                    if read.whole(place) >= 0:
                        self._held.append((read.whole(place), request))
            case ["held", home, key, place, request]:
                session = self._senders_session(read.source(home), read.text(key))
                self._held.append((read.whole(place), Request.restored(request, session, read)))
            case ["told", home, key, due, kind, number]:
                session = self._session(read.source(home), read.text(key))
                self._told.append((read.end(due), session, Kind(read.text(kind)), read.whole(number)))
            case _:
                raise ValueError("an unknown row of attempts")

    def finish(self) -> tuple[list[Request], list[Told]]:
        """Return what is held, and what waits, in their order."""
        held = [request for _, request in sorted(self._held, key=lambda item: item[0])]
        told, self._held, self._told = self._told, [], []
        held = [request for request in held if request.state is State.OPEN]
        for request in held:
            request.hold(request.due)
        return held, told

    def _session(self, home: Source, key: str) -> Session:
        sender = self._sender(home)
        session, is_new = sender.session(key)
        if is_new:
            self._senders.grow(1)
        return session

    def _senders_session(self, home: Source, key: str) -> Session:
        """Return the session of a request that it has forgotten, or one that nobody else knows."""
        sender = self._sender(home)
        return sender.sessions.get(key) or Session(sender.open)

    def _sender(self, home: Source) -> Sender:
        sender = self._senders.touch(home)
        if sender is None:
            sender = Sender()
            self._senders.put(home, sender)
        return sender
