"""What every backend does, asked of the model and of the real kernel with the same words."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guard.core.address import Source, parse_source
from guard.core.ban import Ban, Change, Op
from guard.core.rule import Scope
from guard.core.units import DAY, HOUR, SECOND, Instant
from guard.errors import FirewallError
from guard.firewall import SLACK, Layout
from guard.firewall.choice import choose
from tests.kernel.conftest import NOW, add, adds, ban, hosts, remove

KERNEL = {"nftables": "firewall", "iptables": "iptables"}  # by backend, the fixture that makes it in a namespace


@pytest.fixture(params=["memory", *KERNEL])
def backend(request):
    """Give each backend in turn, set up; the kernel's in a namespace of its own."""
    made = choose("memory") if request.param == "memory" else request.getfixturevalue(KERNEL[request.param])
    made.setup(Layout())
    return made


def held(backend):
    """Say what is held, with the seconds left rounded up: the kernel's clock runs on while we look."""
    return {(source, scope): -int(-left // 1) for (source, scope), left in backend.held().items()}


def expect(backend, *bans):
    most = backend.longest or 30 * DAY
    wanted = {(one.source, one.scope): min(one.until - NOW, most) / SECOND for one in bans}
    found = held(backend)
    assert set(found) == set(wanted)
    assert all(wanted[key] - 2 <= left <= wanted[key] for key, left in found.items()), found


def test_bans_are_held_with_the_time_that_is_left(backend):
    bans = [
        ban("198.51.100.7"),
        ban("2001:db8:5::/64", "10m"),
        ban("203.0.113.0/24", "1m"),
        ban("2001:db8::/32", "30d"),
    ]
    backend.apply([Change(Op.ADD, one) for one in bans], NOW)
    expect(backend, *bans)


def test_the_time_left_is_counted_from_the_instant_of_applying(backend):
    backend.apply([add("198.51.100.7", "1h")], Instant(NOW + HOUR // 2))
    ((left,),) = [held(backend).values()]
    assert 1798 <= left <= 1800


def test_every_scope_holds_its_own(backend):
    bans = [ban("198.51.100.7", scope=scope) for scope in [Scope.ALL]]
    bans += [ban("198.51.100.8", scope=Scope.SIP), ban("198.51.100.0/24", scope=Scope.SLOW)]
    backend.apply([Change(Op.ADD, one) for one in bans], NOW)
    expect(backend, *bans)


@pytest.mark.parametrize("old", Scope)
@pytest.mark.parametrize("new", Scope)
@pytest.mark.parametrize("together", [True, False])
def test_an_add_replaces_the_element_of_the_same_source_in_any_scope(backend, old, new, together):
    changes = [add("198.51.100.7", "1h", old), add("198.51.100.7", "2h", new)]
    for batch in [changes] if together else [changes[:1], changes[1:]]:
        backend.apply(batch, NOW)
    expect(backend, ban("198.51.100.7", "2h", new))


def test_a_remove_takes_one_source_out_of_one_scope(backend):
    backend.apply([add("198.51.100.7"), add("198.51.100.8"), add("198.51.100.9", scope=Scope.SIP)], NOW)
    backend.apply([remove("198.51.100.7"), remove("198.51.100.9")], NOW)
    expect(backend, ban("198.51.100.8"), ban("198.51.100.9", scope=Scope.SIP))


def test_removing_what_is_not_there_does_nothing(backend):
    backend.apply([add("198.51.100.8"), remove("198.51.100.7"), remove("203.0.113.0/24", Scope.SLOW)], NOW)
    backend.apply([remove("198.51.100.7"), remove("198.51.100.7", Scope.SIP)], NOW)
    expect(backend, ban("198.51.100.8"))


@pytest.mark.parametrize("longer", ["2h", "10m"])
def test_adding_what_is_there_moves_its_end_both_ways(backend, longer):
    backend.apply([add("198.51.100.7"), add("198.51.100.8")], NOW)
    backend.apply([add("198.51.100.7", longer), add("198.51.100.9")], NOW)
    expect(backend, ban("198.51.100.7", longer), ban("198.51.100.8"), ban("198.51.100.9"))


def test_the_order_within_a_batch_holds(backend):
    backend.apply(
        [
            *(add("198.51.100.7", "1h"), remove("198.51.100.7"), add("198.51.100.7", "2h")),
            *(add("198.51.100.8"), remove("198.51.100.8")),
            *(remove("198.51.100.9"), add("198.51.100.9"), add("198.51.100.9", "3h")),
            *(add("198.51.100.10"), remove("198.51.100.10", Scope.SIP)),
        ],
        NOW,
    )
    expect(backend, ban("198.51.100.7", "2h"), ban("198.51.100.9", "3h"), ban("198.51.100.10"))


def test_bans_that_have_ended_are_skipped_and_replace_nothing(backend):
    backend.apply([add("198.51.100.7"), add("198.51.100.7", "0s"), add("198.51.100.8", "0s")], NOW)
    expect(backend, ban("198.51.100.7"))


def test_changes_that_only_report_reach_no_set(backend):
    backend.apply([Change(Op.OBSERVE, ban("198.51.100.7")), Change(Op.EXPIRE, ban("198.51.100.8"))], NOW)
    backend.apply([], NOW)
    expect(backend)


def test_a_full_set_is_named_and_nothing_of_the_batch_is_applied(backend):
    backend.setup(Layout(set_size=10))
    sources = hosts(10 + SLACK + 1)
    backend.apply(adds(sources[:-1]), NOW)
    with pytest.raises(
        FirewallError, match=r"set (astguard_)?all4_32 is full: it was made for 10 bans; nothing of this batch"
    ):
        backend.apply([add("203.0.113.0/24"), *adds(sources[-1:])], NOW)
    backend.apply([Change(Op.REMOVE, adds(sources[:1])[0].ban)], NOW)
    backend.apply(adds(sources[-1:]), NOW)
    assert set(backend.held()) == {(source, Scope.ALL) for source in sources[1:]}


@pytest.mark.parametrize(
    "packed",
    ["0418c6336407", "0421c6336407", "0420c63364", "0540c6336407", "0640" + "20010db8" + "00" * 11 + "01", "04"],
)
def test_a_source_that_is_no_network_is_refused_before_anything_is_changed(backend, packed):
    source = Source(bytes.fromhex(packed))
    wrong = Change(Op.ADD, Ban(source=source, rule="test", since=NOW, until=Instant(NOW + HOUR)))
    for changes in ([add("198.51.100.7"), wrong], [*adds(hosts(20_001)), wrong]):
        with pytest.raises(FirewallError, match=f"source {packed} is no network"):
            backend.apply(changes, NOW)
    with pytest.raises(FirewallError, match="is no network"):
        backend.setup(Layout(allow=[source]))
    expect(backend)


def test_setup_can_hold_bans_from_the_first_moment_on(backend):
    old = ban("198.51.100.9", "10m")
    backend.apply([Change(Op.ADD, old)], NOW)
    bans = [ban("198.51.100.7"), ban("203.0.113.0/24", "2h", Scope.SLOW), ban("2001:db8:5::/64", "5m", Scope.SIP)]
    backend.setup(Layout(), [*bans, ban("198.51.100.8", "0s")], NOW)
    expect(backend, old, *bans)
    backend.look()


def test_restoring_adds_what_is_missing_and_leaves_the_rest_as_it_is(backend):
    backend.apply([add("198.51.100.7", "10m")], NOW)
    missing = [ban("198.51.100.8"), ban("10.0.0.0/8", scope=Scope.SIP), ban("2001:db8:5::/64", scope=Scope.SLOW)]
    for _ in range(2):
        backend.restore([*missing, ban("198.51.100.9", "0s")], NOW)
        expect(backend, ban("198.51.100.7", "10m"), *missing)
    backend.apply([add("198.51.100.8", "2h"), remove("10.0.0.0/8", Scope.SIP)], NOW)
    expect(backend, ban("198.51.100.7", "10m"), ban("198.51.100.8", "2h"), missing[2])


def test_what_is_as_we_made_it_is_no_loss_whatever_we_did(backend):
    backend.look()
    backend.apply([add("198.51.100.7"), add("10.0.0.0/8"), add("203.0.113.0/24", scope=Scope.SLOW)], NOW)
    backend.look()
    backend.close_ports([5080])
    backend.apply([remove("10.0.0.0/8"), add("198.51.100.7", "2h")], NOW)
    backend.tidy({(Scope.ALL, 4, 32), (Scope.SLOW, 4, 24)})
    backend.look()
    expect(backend, ban("198.51.100.7", "2h"), ban("203.0.113.0/24", scope=Scope.SLOW))
    backend.setup(Layout(allow=[parse_source("192.0.2.0/24")], slow_rate=9))
    backend.look()


def test_a_listing_in_parts_has_all_bans_once(backend):
    bans = [ban("198.51.100.7"), ban("10.0.0.0/8", scope=Scope.SIP), ban("2001:db8:5::/64", scope=Scope.SLOW)]
    backend.apply([*(Change(Op.ADD, one) for one in bans), *adds(hosts(3_000))], NOW)
    parts = list(backend.listing())
    told = [banned for part in parts for banned in part]
    assert len(told) == len(set(told)) == 3_003
    assert set(told) == set(backend.held())


def test_setup_again_keeps_the_bans(backend):
    bans = [ban("198.51.100.7"), ban("203.0.113.0/24", scope=Scope.SLOW), ban("2001:db8:5::/64", scope=Scope.SIP)]
    backend.apply([Change(Op.ADD, one) for one in bans], NOW)
    backend.setup(Layout(allow=[parse_source("192.0.2.0/24")], sip_ports=[5080], set_size=500, slow_rate=3))
    expect(backend, *bans)
    backend.apply([add("203.0.113.0/24", "2h"), remove("198.51.100.7")], NOW)
    expect(backend, ban("203.0.113.0/24", "2h"), bans[2])


def test_networks_are_accepted_and_no_longer_and_the_bans_stay(backend):
    with pytest.raises(FirewallError, match=r"accept\(\) before setup\(\)"):
        choose(backend.name).accept([], [])
    bans = [ban("198.51.100.0/24"), ban("2001:db8:5::/64", scope=Scope.SIP)]
    backend.setup(Layout(allow=[parse_source("192.0.2.1"), parse_source("2001:db8::1")]))
    backend.apply([Change(Op.ADD, one) for one in bans], NOW)
    one, six, other = (parse_source(text) for text in ("198.51.100.7", "2001:db8:5::7/128", "198.51.100.8"))
    for added, gone in (([one, six], []), ([one], []), ([other], [one, six]), ([], [one, other]), ([], [])):
        assert backend.accept(added, gone)
    expect(backend, *bans)


def test_ports_are_closed_beside_those_of_the_layout_and_may_be_closed_twice(backend):
    with pytest.raises(FirewallError, match=r"close_ports\(\) before setup\(\)"):
        choose(backend.name).close_ports([5080])
    bans = [ban("198.51.100.7"), ban("203.0.113.0/24", scope=Scope.SLOW), ban("2001:db8:5::/64", scope=Scope.SIP)]
    backend.apply([Change(Op.ADD, one) for one in bans], NOW)
    for ports in ([5080], [5060, 5080, 8089], []):
        backend.close_ports(ports)
    expect(backend, *bans)


def test_teardown_forgets_everything_and_may_be_repeated(backend):
    backend.apply([add("198.51.100.7")], NOW)
    backend.teardown()
    backend.teardown()
    assert backend.held() == {}
    with pytest.raises(FirewallError, match="before setup"):
        backend.apply([add("198.51.100.7")], NOW)


def test_closing_keeps_the_bans(backend):
    backend.apply([add("198.51.100.7")], NOW)
    backend.close()
    expect(backend, ban("198.51.100.7"))


def test_nothing_is_dropped_before_a_packet_came(backend):
    assert backend.dropped() == {Scope.ALL: (0, 0), Scope.SIP: (0, 0), Scope.SLOW: (0, 0)}


SOURCES = ["198.51.100.7", "198.51.100.8", "198.51.100.0/24", "2001:db8:5::/64"]
CHANGES = st.builds(
    lambda op, source, minutes, scope: Change(op, ban(source, f"{minutes}m" if minutes else "0s", scope)),
    st.sampled_from([Op.ADD, Op.ADD, Op.REMOVE]),
    st.sampled_from(SOURCES),
    st.integers(0, 5),
    st.sampled_from(list(Scope)),
)


@pytest.mark.parametrize("kernel", KERNEL)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(batches=st.lists(st.lists(CHANGES, max_size=8), max_size=5))
def test_model_and_kernel_agree_on_any_batches(request, kernel, batches):
    model, real = choose("memory"), request.getfixturevalue(KERNEL[kernel])
    real.teardown()
    for backend in (model, real):
        backend.setup(Layout())
        for batch in batches:
            backend.apply(batch, NOW)
    expected, found = held(model), held(real)
    assert set(found) == set(expected)
    assert all(expected[key] - 2 <= left <= expected[key] for key, left in found.items())
