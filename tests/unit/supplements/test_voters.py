"""Asking supplements before a ban: order, what an answer may do, and what ends the asking. docs/supplements.md, "before_ban"."""

from __future__ import annotations

import pytest

from guard.core.address import parse_source
from guard.core.ban import Ban
from guard.core.units import MILLISECOND, SECOND, Duration, Instant
from guard.supplements.mark import SLOT, MarkFile
from guard.supplements.voters import Spent, Voters

BAN = Ban(source=parse_source("198.51.100.7"), rule="guessing", since=Instant(5), until=Instant(5 + 600 * SECOND))


class Voter:
    def __init__(self, answer=None):
        self.answer, self.asked = answer, []

    def before_ban(self, ban):
        self.asked.append(ban)
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


def ask(*answers, **options):
    supplements = [Voter(answer) for answer in answers]
    voters = Voters([(f"s{number}", one) for number, one in enumerate(supplements)], **options)
    return voters, supplements


@pytest.mark.parametrize(
    ("answers", "seconds"),
    [
        ((), 600), ((None,), 600), ((600,), 600), ((601,), 600), ((1e300,), 600), ((float("inf"),), 600), ((60,), 60),
        ((0.5,), 0.5), ((0,), 0), ((60, 120), 60), ((120, 60), 60), ((None, 60, None), 60), ((0, 60), 0),
    ],
)  # fmt: skip
def test_a_ban_is_left_shortened_or_refused_and_never_longer(answers, seconds):
    voters, _ = ask(*answers)
    assert voters(BAN) == (Duration(int(seconds * SECOND)), "")


def test_each_sees_the_ban_as_those_before_have_left_it_and_none_after_a_refusal():
    voters, (first, second, third) = ask(60, 0, None)
    voters(BAN)
    assert [ban.seconds for ban in first.asked] == [600]
    assert [ban.seconds for ban in second.asked] == [60]
    assert third.asked == []


def test_what_they_see_is_plain_and_cannot_be_changed():
    voters, (one,) = ask(None)
    voters(BAN)
    (ban,) = one.asked
    assert (ban.address, ban.rule, ban.seconds, ban.at) == ("198.51.100.7", "guessing", 600.0, "")
    with pytest.raises(AttributeError):
        ban.address = "192.0.2.1"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (True, "gave True"), (-1, "gave -1"), (float("nan"), "gave nan"), ("60", "gave a str"),
        (ValueError("no \x1b[2J"), r"raised ValueError: no \x1b[2J"), (SystemExit(), "raised SystemExit"),
        (RecursionError(), "raised RecursionError"),
    ],
)  # fmt: skip
def test_one_that_fails_is_asked_no_more_and_the_ban_is_as_if_it_had_said_nothing(answer, words):
    voters, (bad, good) = ask(answer, 60)
    length, trouble = voters(BAN)
    assert length == 60 * SECOND
    assert "supplement s0 is no longer asked before a ban: before_ban" in trouble
    assert words in trouble
    assert voters(BAN) == (60 * SECOND, "")
    assert (len(bad.asked), len(good.asked), list(voters.off)) == (1, 2, ["s0"])


def meters(*spent):
    readings = iter(spent)
    return lambda: Spent(*next(readings))


@pytest.mark.parametrize(
    ("after", "off"),
    [
        ((2 * MILLISECOND, 2 * MILLISECOND, 0), False),
        ((2 * MILLISECOND + 1, 2 * MILLISECOND + 1, 0), True),  # it has computed for too long
        ((2 * MILLISECOND + 1, 0, 1), True),  # it has waited for something
        ((900 * MILLISECOND, MILLISECOND, 0), False),  # somebody else had the processor
    ],
)
def test_one_that_takes_more_than_two_milliseconds_is_asked_no_more_but_its_answer_holds(after, off):
    voters, _ = ask(60, spent=meters((0, 0, 0), after))
    length, trouble = voters(BAN)
    assert (length, list(voters.off) == ["s0"]) == (60 * SECOND, off)
    assert ("2 ms are allowed" in trouble) is off


def test_who_was_being_asked_when_the_guard_was_killed_is_left_off_and_the_others_are_asked(tmp_path):
    path, names = tmp_path / "state.db.asking", ["s0", "s1"]
    mark = MarkFile(path, names)
    assert mark.left_off == {}
    mark.enter(1)  # and here the process ends: nothing is written any more
    assert path.read_bytes()[SLOT] == 1
    again = MarkFile(path, names)
    assert again.left_off == {"s1": "astguard was ended while it was being asked; did before_ban never return?"}
    voters, (one, hung) = ask(None, 60, mark=again, left_off=again.left_off)
    assert "supplement s1 is no longer asked" in voters.take_trouble()
    assert voters(BAN) == (600 * SECOND, "")
    assert (len(one.asked), len(hung.asked)) == (1, 0)
    third = MarkFile(path, names)  # another crash, for another reason, gives it no new chance
    assert list(third.left_off) == ["s1"]
    third.clear()
    assert MarkFile(path, names).left_off == {}


def test_a_mark_follows_the_name_not_the_place(tmp_path):
    mark = MarkFile(tmp_path / "mark", ["a", "b"])
    mark.enter(0)
    assert list(MarkFile(tmp_path / "mark", ["b", "a"]).left_off) == ["a"]
    assert MarkFile(tmp_path / "mark", ["c"]).left_off == {}


@pytest.mark.parametrize("junk", [b"", b"\x01", b"\xff" * 5_000, b"\x01\xff\x1b[2J" + b"x" * 61])
def test_a_damaged_mark_switches_nobody_off_but_whom_it_names(tmp_path, junk):
    (tmp_path / "mark").write_bytes(junk)
    assert MarkFile(tmp_path / "mark", ["a"]).left_off == {}


def test_while_one_is_asked_the_mark_says_so_and_afterwards_not(tmp_path):
    path = tmp_path / "mark"
    seen = []

    class Looks:
        def before_ban(self, _):
            seen.append(path.read_bytes()[0])

    voters = Voters([("looks", Looks())], mark=MarkFile(path, ["looks"]))
    voters(BAN)
    assert (seen, path.read_bytes()[0]) == ([1], 0)


def test_a_link_in_place_of_the_mark_is_not_followed(tmp_path):
    (tmp_path / "target").write_bytes(b"precious")
    (tmp_path / "mark").symlink_to(tmp_path / "target")
    with pytest.raises(OSError):
        MarkFile(tmp_path / "mark", ["a"])
    assert (tmp_path / "target").read_bytes() == b"precious"
