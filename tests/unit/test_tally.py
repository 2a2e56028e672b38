"""Every count has a fixed name and a bound."""

from __future__ import annotations

import pytest

from guard.core.address import host
from guard.core.event import Service, Transport
from guard.core.outcome import Outcome
from guard.core.tally import FAILED_LIMIT, NAMES, Tally


def test_a_name_that_nobody_stated_is_our_mistake():
    with pytest.raises(KeyError):
        Tally().add("evnts")


def test_every_outcome_has_its_count():
    assert {name.removeprefix("outcome.") for name in NAMES if name.startswith("outcome.")} == set(Outcome)


def test_failures_are_counted_by_service_transport_and_host_until_taken():
    tally = Tally()
    source = host(bytes((198, 51, 100, 7)))
    tally.fail([(Service.PJSIP, Transport.UDP, source)] * 2 + [(Service.PJSIP, Transport.TCP, source)])
    tally.fail([(Service.PJSIP, Transport.UDP, source)])
    assert tally.take_failed() == {
        (Service.PJSIP, Transport.UDP, source): 3,
        (Service.PJSIP, Transport.TCP, source): 1,
    }
    assert tally.take_failed() == {}


def test_a_flood_of_addresses_is_summed_under_none_and_nothing_is_lost():
    tally = Tally()
    for number in range(FAILED_LIMIT + 500):
        tally.fail([(Service.PJSIP, Transport.UDP, host(number.to_bytes(4, "big")))])
    failed = tally.take_failed()
    assert len(failed) <= FAILED_LIMIT + len(Service) * len(Transport)
    assert failed[Service.PJSIP, Transport.UDP, None] == 500
    assert sum(failed.values()) == FAILED_LIMIT + 500
