"""The ports that a ban closes, learnt from where Asterisk is heard; and bans that do not bite."""

from __future__ import annotations

import pytest

from guard.core.address import parse_source
from guard.core.alarm import Kind as About
from guard.core.engine import Engine
from guard.core.event import Kind, Sensor, Service, Transport
from guard.core.outcome import Outcome
from guard.core.ports import LEARNT_LIMIT, Ports
from guard.core.rule import SIP_PORTS, Scope
from guard.core.units import MILLISECOND, SECOND
from tests.events import event, rule

T = 1_000 * SECOND


def banned(*, confirmed=T, scope=Scope.ALL, **fields):
    """Make an engine that has banned somebody; the kernel took the ban at the instant `confirmed`."""
    guard = Engine([rule(threshold=1, scope=scope)])
    one = event(at=T, **({"transport": Transport.TCP} | fields))
    guard.handle([one], T, T)
    if confirmed:
        guard.confirm([one.source], confirmed)
    return guard


def hear(guard, after, **fields):
    now = T + after
    return guard.handle([event(at=now, **({"transport": Transport.TCP} | fields))], now, now)[0]


def test_a_port_at_which_sip_was_heard_is_learnt_and_the_driver_told():
    guard = Engine([rule()])
    assert guard.sip_ports == tuple(sorted(SIP_PORTS))
    assert not guard.take_ports()
    guard.handle([event(at=T, port=5080, kind=Kind.CHALLENGE_SENT)], T, T)
    assert guard.sip_ports == (4569, 5060, 5061, 5080)
    assert guard.take_ports()
    assert not guard.take_ports()


@pytest.mark.parametrize(
    "fields",
    [
        {"service": Service.AMI, "transport": Transport.TCP, "port": 5038},
        {"sensor": Sensor.MESSAGES, "port": 5090},
        {"port": 22},
    ],
)
def test_a_port_of_something_else_is_not_learnt(fields):
    guard = Engine([rule()])
    guard.handle([event(at=T, **fields)], T, T)
    assert guard.sip_ports == tuple(sorted(SIP_PORTS))


def test_no_more_ports_are_learnt_than_an_asterisk_has():
    ports = Ports(())
    for port in range(1_000, 2_000):
        ports.hear(event(port=port))
    assert len(list(ports)) == LEARNT_LIMIT


def test_a_websocket_s_port_is_closed_unless_it_is_one_of_sip():
    ports = Ports((5060,))
    for transport, port in ((Transport.WSS, 8089), (Transport.WS, 5070), (Transport.UDP, 5070), (Transport.WS, 5060)):
        ports.hear(event(transport=transport, port=port))
    closed = [ports.close(event(transport=Transport.WSS, port=port)) for port in (8089, 5070, 5060, 9999)]
    assert closed == [True, False, False, False]
    assert ports.close(event(port=5070))


def test_what_was_on_its_way_when_the_kernel_took_the_ban_is_no_surprise():
    guard = banned()
    assert hear(guard, 100 * MILLISECOND) is Outcome.ALREADY_BANNED
    assert hear(guard, 100 * MILLISECOND + 1) is Outcome.AFTER_BAN


def test_who_bans_nobody_confirms_nothing_and_nothing_comes_after_a_ban():
    assert hear(banned(confirmed=None), 9 * SECOND) is Outcome.ALREADY_BANNED


def test_a_line_of_the_log_has_no_time_to_judge_by():
    assert hear(banned(), 9 * SECOND, sensor=Sensor.MESSAGES) is Outcome.ALREADY_BANNED


def test_ten_events_after_a_ban_are_an_alarm_that_names_the_port_and_the_cause():
    guard = banned()
    for number in range(9):
        hear(guard, SECOND + number, port=5061)
    assert not guard.take_alarms()
    hear(guard, 2 * SECOND, port=5061)
    (alarm,) = guard.take_alarms()
    assert alarm.kind is About.NO_EFFECT
    assert "5061" in alarm.text
    assert "proxy" in alarm.text
    assert "namespace" in alarm.text
    hear(guard, 3 * SECOND)
    assert not guard.take_alarms()


def test_the_events_after_a_ban_are_counted_for_each_ban_by_itself():
    guard = banned()
    source = event().source
    for number in range(9):
        hear(guard, SECOND + number)
    guard.unban(source, T + 2 * SECOND)
    assert hear(guard, 3 * SECOND) is Outcome.BANNED
    guard.confirm([source], T + 3 * SECOND)
    for number in range(9):
        hear(guard, 4 * SECOND + number)
    assert not guard.take_alarms()
    hear(guard, 5 * SECOND)
    assert guard.take_alarms()


def test_a_port_that_no_ban_covers_is_named_as_the_cause():
    """Only what cannot be learnt: here a WebSocket under a port of SIP, by forged datagrams of the same source."""
    guard = banned(transport=Transport.UDP)
    for number in range(10):
        hear(guard, SECOND + number, transport=Transport.UDP, port=22)
    (alarm,) = guard.take_alarms()
    assert "firewall.sip_ports" in alarm.text


def test_a_ban_that_has_ended_is_confirmed_no_longer():
    guard = banned()
    source = event().source
    assert guard.ledger.confirmed(source) == T
    guard.unban(source, T)
    assert guard.ledger.confirmed(source) is None


def test_only_the_first_time_that_the_kernel_took_a_ban_is_noted_and_only_of_sources_that_have_one():
    guard = banned(confirmed=None)
    (one,), (other,) = guard.ledger, [parse_source("203.0.113.77")]
    guard.confirm([one.source, other], T)
    guard.confirm([one.source, other], T + SECOND)
    assert guard.ledger.confirmed(one.source) == T
    assert guard.ledger.confirmed(other) is None
