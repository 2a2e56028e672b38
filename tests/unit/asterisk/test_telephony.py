"""Trunks, strangers, and the order in which PJSIP looks for an endpoint."""

from __future__ import annotations

import pytest

from guard.asterisk.telephony import has_anonymous, identify_order, trunks
from tests.unit.asterisk.test_manager import conf

EMPTY = conf("")


def peers(pjsip="", wizard="", sip="", iax=""):
    return [trunk.peer for trunk in trunks(conf(pjsip), conf(wizard), conf(sip), conf(iax))]


@pytest.mark.parametrize(
    ("pjsip", "expected"),
    [
        ("[t]\ntype=identify\nendpoint=t\nmatch=192.0.2.22\n", ["192.0.2.22"]),
        ("[t]\ntype=identify\nmatch=192.0.2.0/255.255.255.0, sip.provider.example\nmatch=2001:db8::/48\n", ["192.0.2.0/24", "sip.provider.example", "2001:db8::/48"]),
        ("[t]\ntype=identify\nmatch=192.0.2.22/32\nmatch=!192.0.2.23\n", ["192.0.2.22", "192.0.2.23"]),
        ("[t](!)\ntype=identify\n[u](t)\nmatch=192.0.2.1\n", ["192.0.2.1"]),
        ("[t]\ntype=identify\nmatch=0.0.0.0/0\nmatch=127.0.0.1\nmatch=\nmatch=x\nmatch=$(reboot)\n", []),
        ("[p]\ntype=registration\nserver_uri=sip:sip.provider.example:5060\\;transport=tcp\n", ["sip.provider.example"]),
        ("[p]\ntype=registration\nserver_uri=sip:me@192.0.2.23\n", ["192.0.2.23"]),
        ("[p]\ntype=registration\nserver_uri=sips:[2001:db8::5]:5061\n", ["2001:db8::5"]),
        ("[p]\ntype=endpoint\nmatch=192.0.2.23\n", []),
        ("[t]\ntype=identify\nmatch=192.0.2.22\n[u]\ntype=identify\nmatch=192.0.2.22\n", ["192.0.2.22"]),
    ],
)  # fmt: skip
def test_the_trunks_of_pjsip(pjsip, expected):
    assert peers(pjsip) == expected


def test_the_trunks_of_the_others():
    assert peers(wizard="[w]\ntype=wizard\nremote_hosts=a.example.net:5060,192.0.2.7\n") == [
        "a.example.net",
        "192.0.2.7",
    ]
    sip = "[general]\nregister => u:p@w@sip.example.org:5061/123\nregister => odd\n[p]\ntype=peer\nhost=192.0.2.8\n[q]\ntype=friend\nhost=dynamic\n"
    assert peers(sip=sip) == ["sip.example.org", "192.0.2.8"]
    assert peers(iax="[p]\ntype=friend\nhost=192.0.2.9\n") == ["192.0.2.9"]


def test_a_trunk_says_where_it_stands_and_whether_it_is_a_name():
    (trunk,) = trunks(conf("[t]\ntype=identify\nendpoint=x\nmatch=sip.example.org\n"), EMPTY, EMPTY, EMPTY)
    assert (trunk.what, trunk.is_name) == ("PJSIP endpoint 'x' is known by it", True)
    assert trunk.place.endswith(":4")


@pytest.mark.parametrize(
    ("pjsip", "found"),
    [
        ("[anonymous]\ntype=endpoint\n", True),
        ("[anonymous@example.org]\ntype=endpoint\n", True),
        ("[anonymous]\ntype=aor\n", False),
        ("[anonymous](!)\ntype=endpoint\n", False),
        ("[101]\ntype=endpoint\n", False),
    ],
)
def test_an_endpoint_for_strangers(pjsip, found):
    assert bool(has_anonymous(conf(pjsip))) is found


def test_the_order_of_identification():
    assert identify_order(conf("[global]\ntype=global\nendpoint_identifier_order=auth_username, ip\n")) == (
        "auth_username",
        "ip",
    )
    assert identify_order(EMPTY)[0] == "ip"
