"""Why our table has no owner (docs/decisions/0021): the facts, as this kernel and this nft have them."""

from __future__ import annotations

import pytest

from guard.firewall.nfsocket import NetlinkSocket
from guard.wire.nfnetlink import CREATE, INET_HEADER, Kind, Message, attribute

OWNER, PERSIST = 2, 4


@pytest.fixture
def owner(place):
    """Give the socket that owns a table, which is to stay when it closes."""
    kernel = NetlinkSocket()
    flags = attribute(2, (OWNER | PERSIST).to_bytes(4, "big"))
    refusal = kernel.commit([Message(Kind.NEW_TABLE, CREATE, INET_HEADER + attribute(1, b"astguard\0") + flags)])
    if refusal is not None:
        pytest.xfail(f"this kernel has no tables that outlive their owner (errno {refusal.errno})")
    yield kernel
    kernel.close()


def test_a_flush_passes_over_an_owned_table(place, owner):
    place.run("nft", "flush ruleset")
    assert "table inet astguard" in place.run("nft", "list ruleset")


def test_a_saved_ruleset_with_an_owned_table_cannot_be_loaded_and_nothing_of_it_is(place, owner):
    saved = "flush ruleset\n" + place.run("nft", "list ruleset") + "table inet firewall {\n}\n"
    with pytest.raises(AssertionError, match="Operation not permitted"):
        place.run("nft", "-f", "-", input=saved)
    assert "table inet firewall" not in place.run("nft", "list ruleset")


def test_when_its_owner_is_gone_a_flush_takes_it_along(place, owner):
    owner.close()
    place.run("nft", "flush ruleset")
    assert place.run("nft", "list ruleset") == ""
