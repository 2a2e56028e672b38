"""Legacy rules as bytes; that `iptables` writes the same ones is shown by tests/kernel/test_iptables.py."""

from __future__ import annotations

import struct

import pytest

from guard.core.rule import Scope
from guard.firewall import xtrules
from guard.firewall.ipsets import BanKey, allow_name, mark, parse_name, shape_of
from guard.firewall.xtrules import CHAIN, Rule

KEYS = [BanKey(scope, family, length) for scope in Scope for family, length in ((4, 32), (4, 24), (6, 64), (6, 128))]
NUMBERS = {name: number for number, name in enumerate([*(key.name for key in KEYS), "ports", "allow"])}


def rules(family, rate=5):
    return list(xtrules.guard(family, NUMBERS, "allow", "ports", KEYS, rate))


@pytest.mark.parametrize("family", [4, 6])
def test_a_rule_comes_back_from_its_bytes_without_counters_and_the_kernels_pointer(family):
    for rule in [*rules(family), xtrules.jump(family), xtrules.drop(family)]:
        entry = bytearray(xtrules.pack(family, rule))
        assert len(entry) % 8 == 0
        head = {4: 112, 6: 168}[family]
        entry[head - 16 : head] = struct.pack("=QQ", 7, 231)
        if b"hashlimit" in rule.matches:
            assert entry[-48:-40] == bytes(8)
            entry[-48:-40] = b"\xff\xff\x88\x88\x00\x00\x12\x34"
        assert xtrules.unpack(family, bytes(entry), rule.target) == rule
        assert xtrules.counters(family, bytes(entry)) == (7, 231)


def test_what_was_in_memory_behind_a_matchs_name_is_no_difference():
    rule = rules(4)[1]
    entry = bytearray(xtrules.pack(4, rule))
    assert entry[114:118] == b"set\0"
    entry[118:143] = b"left over from other rule"
    assert xtrules.unpack(4, bytes(entry), rule.target) == rule


def test_the_allowlist_comes_before_all_bans_and_the_stronger_scope_before_the_weaker():
    for family, first in ((4, 1), (6, 6)):
        targets = [rule.target for rule in rules(family)]
        assert targets[: first + 1] == ["RETURN"] * (first + 1)
        assert targets[first + 1 :] == [f"{CHAIN}_{scope}" for scope in ("ALL", "SIP", "SLOW") for _ in range(2)]


def test_another_rate_is_another_table_of_the_kernel():
    # hashlimit finds its table by name and keeps the rates of the rule that made it.
    one, other = (rule.matches for rule in (rules(4, 5)[-1], rules(4, 6)[-1]))
    assert b"astguard4_24_5\0" in one
    assert b"astguard4_24_6\0" in other


@pytest.mark.parametrize(("rate", "pause"), [(1, 1_000_000), (5, 200_000), (1000, 1000)])
def test_the_rate_is_a_pause_in_microseconds(rate, pause):
    match = rules(6, rate)[-1].matches[-344:]
    assert match[2:11] == b"hashlimit"
    assert struct.unpack_from("=QQ", match, 32 + 256) == (pause, 5)


@pytest.mark.parametrize(
    ("chain", "targets", "ours"),
    [
        (CHAIN, [], True),
        (CHAIN, ["RETURN", "ASTGUARD_ALL"], True),
        (CHAIN, ["LOG", "ASTGUARD_SIP"], True),
        (CHAIN, ["ACCEPT"], False),
        (CHAIN, ["RETURN", "DROP"], False),
        ("ASTGUARD_ALL", [], True),
        ("ASTGUARD_ALL", ["LOG", "DROP"], True),
        ("ASTGUARD_ALL", ["ACCEPT"], False),
    ],
)
def test_a_chain_is_ours_if_it_is_empty_or_leads_where_ours_leads(chain, targets, ours):
    assert xtrules.is_ours(chain, [Rule(b"", b"", target) for target in targets]) is ours


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("astguard_all4_32", BanKey(Scope.ALL, 4, 32)),
        ("astguard_slow6_128", BanKey(Scope.SLOW, 6, 128)),
        ("astguard_all4_33", None),
        ("astguard_all4_0", None),
        ("astguard_allow4", None),
        ("astguard_all4_32 ", None),
        ("all4_32", None),
        ("mine_astguard_all4_32", None),
    ],
)
def test_the_name_of_a_set_is_read_strictly(name, key):
    assert parse_name(name) == key


def test_every_name_of_ours_has_a_shape_and_fits():
    for name in [*(key.name for key in KEYS), allow_name(4), allow_name(6), "astguard_ports"]:
        assert shape_of(name) is not None
        assert len(name) < 32  # IPSET_MAXNAMELEN
    for name in ("astguard", "astguard_allow", "astguard_allow5", "other"):
        assert shape_of(name) is None


def test_the_mark_of_a_set_lies_in_no_source():
    assert mark("astguard_all4_32") == b"\xff" * 4
    assert mark("astguard_all4_12") == bytes((255, 240, 0, 0))
    assert mark("astguard_sip6_64") == b"\xff" * 8 + bytes(8)
    assert mark("astguard_allow6") == b"\xff" * 16
