"""What a run of changes comes to, and the answers that a held netlink socket must not mistake for its own."""

from __future__ import annotations

import struct

import pytest

from guard.core.address import parse_source
from guard.core.ban import Ban, Change, Op
from guard.core.rule import Scope
from guard.core.units import MILLISECOND, SECOND, Instant
from guard.errors import FirewallError
from guard.firewall.nfsocket import NetlinkSocket, Refusal
from guard.firewall.plan import GONE, SCOPES, check, fold
from guard.wire.nfnetlink import Message

KIND, KEY = b"\x04\x20", bytes((198, 51, 100, 7))


def change(op, left=SECOND, scope=Scope.ALL, source="198.51.100.7"):
    return Change(op, Ban(source=parse_source(source), rule="test", since=Instant(0), until=Instant(left), scope=scope))


@pytest.mark.parametrize(
    ("left", "milliseconds"), [(1, 1), (MILLISECOND, 1), (MILLISECOND + 1, 2), (SECOND - 1, 1000), (SECOND, 1000)]
)
def test_what_is_left_is_rounded_up_so_that_nobody_is_let_in_early(left, milliseconds):
    assert fold([change(Op.ADD, left)], Instant(0))[KIND].last == {KEY: milliseconds << 2}


@pytest.mark.parametrize("left", [0, -5])
def test_an_ended_ban_comes_to_nothing(left):
    assert fold([change(Op.ADD, left)], Instant(0))[KIND] == ({}, {})


def test_each_scope_has_its_index_and_gone_is_none_of_them():
    for index, scope in enumerate(SCOPES):
        ((_, outcome),) = fold([change(Op.ADD, scope=scope)], Instant(0))[KIND].last.items()
        assert (outcome & 3, outcome >> 2) == (index, 1000)
        assert fold([change(Op.ADD, scope=scope), change(Op.REMOVE, scope=scope)], Instant(0))[KIND].last == {KEY: GONE}
        assert fold([change(Op.REMOVE, scope=scope)], Instant(0))[KIND].lifted == {KEY: 1 << index}


def test_removing_from_another_scope_than_the_last_add_changes_nothing():
    folded = fold([change(Op.ADD), change(Op.REMOVE, scope=Scope.SIP)], Instant(0))[KIND]
    assert folded == ({KEY: 4000}, {})


def test_sources_are_kept_apart_by_family_and_length():
    changes = [change(Op.ADD, source=source) for source in ("198.51.100.7", "198.51.100.0/24", "2001:db8::/64")]
    assert list(fold(changes, Instant(0))) == [KIND, b"\x04\x18", b"\x06\x40"]


def test_both_checks_refuse_the_same_sources():
    wrong = Change(Op.ADD, change(Op.ADD).ban.__class__(source=b"\x04\x18" + KEY, rule="", since=0, until=1))
    for refuse in (lambda: check([wrong]), lambda: fold([wrong], Instant(0))):
        with pytest.raises(FirewallError, match="source 0418c6336407 is no network"):
            refuse()


class Kernel:
    """A socket whose answers are written down before."""

    room = 1000

    def __init__(self, *answers):
        self.answers = [struct.pack("=IHHIIi", 20, 2, 0, sequence, 0, -error) for sequence, error in answers]

    def send(self, data):
        (self.begins,) = struct.unpack_from("=I", data, 8)

    def recv(self, _size):
        return self.answers.pop(0)


def asked(*answers):
    held = NetlinkSocket()
    held._socket = Kernel(*answers)
    held._sequence = 10
    return held, held.commit([Message(12, 0, b"\1\0\0\0")] * 3)


@pytest.mark.parametrize(
    ("answers", "refusal"),
    [
        ([(13, 0)], None),
        ([(12, 17), (13, 0)], Refusal(17, 1)),
        ([(11, 2), (12, 2), (13, 2)], Refusal(2, 0)),
        ([(13, 23)], Refusal(23, 2)),
        ([(10, 1)], Refusal(1, -1)),
        ([(9, 17), (8, 0), (13, 0)], None),  # left over from the batch before
        ([(3, 0), (12, 2), (13, 0)], Refusal(2, 1)),
    ],
)
def test_a_transaction_takes_only_its_own_answers_and_names_the_first_refused_message(answers, refusal):
    held, seen = asked(*answers)
    assert seen == refusal
    assert held._socket.answers == []


def test_a_batch_refused_as_a_whole_leaves_its_other_answers_to_be_skipped_later():
    held, seen = asked((10, 12), (13, 0), (18, 17))
    assert seen == Refusal(12, -1)
    held._socket.answers.append(struct.pack("=IHHIIi", 20, 2, 0, 15, 0, -2))
    held._sequence = 14
    assert held.commit([Message(12, 0, b"\1\0\0\0")]) == Refusal(2, 0)


def test_numbers_start_again_before_they_run_out():
    held = NetlinkSocket()
    held._socket = Kernel(((1 << 31) - 1, 0))
    held._sequence = (1 << 31) - 3
    assert held.commit([Message(12, 0, b"\1\0\0\0")] * 2) is None
    assert held._sequence == 1
