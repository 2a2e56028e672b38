"""A log file that is written, renamed, copied and truncated, packed, unreadable, and comes later."""

from __future__ import annotations

import gzip
import os

import pytest

from guard.sensors.logtail import LogTail, Piece

NOTHING = Piece(b"", fresh=False)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "messages"
    path.write_bytes(b"old\n")
    return path


@pytest.fixture
def tail(path):
    tail = LogTail(path)
    assert tail.read(100) == NOTHING
    yield tail
    tail.close()


def write(path, data):
    with path.open("ab") as file:
        file.write(data)


def test_what_is_new_is_read_and_what_was_there_is_not(tail, path):
    write(path, b"one\ntw")
    assert tail.read(100) == (b"one\ntw", False)
    assert tail.read(100) == NOTHING
    write(path, b"o\n")
    assert [tail.read(1).data, tail.read(100).data] == [b"o", b"\n"]


def test_a_line_that_is_being_written_is_read_from_its_beginning(path):
    write(path, b"half")
    tail = LogTail(path)
    tail.read(0)
    write(path, b" a line\n")
    assert tail.read(100).data == b"half a line\n"
    tail.close()


def test_after_a_rename_the_old_file_is_read_until_the_new_one_has_something(tail, path):
    write(path, b"one\n")
    old = path.rename(path.with_name("messages.1"))
    assert tail.read(100) == (b"one\n", False)
    write(old, b"two\n")
    assert tail.read(100) == (b"two\n", False)
    path.touch()
    write(old, b"three\n")
    assert tail.read(100) == (b"three\n", False)
    assert tail.read(100) == NOTHING
    write(old, b"four\n")
    write(path, b"five\n")
    assert tail.read(100) == (b"four\n", False)
    assert tail.read(100) == (b"five\n", True)


def test_an_old_file_may_be_packed_and_removed(tail, path):
    write(path, b"one\n")
    old = path.rename(path.with_name("messages.1"))
    old.with_suffix(".gz").write_bytes(gzip.compress(old.read_bytes()))
    old.unlink()
    write(path, b"two\n")
    assert [tail.read(100), tail.read(100)] == [(b"one\n", False), (b"two\n", True)]


def test_a_file_that_was_copied_and_truncated_is_read_from_its_beginning(tail, path):
    write(path, b"one\n")
    assert tail.read(100).data == b"one\n"
    path.write_bytes(b"")
    os.truncate(path, 0)
    assert tail.read(100) == (b"", True)
    write(path, b"two\n")
    assert tail.read(100).data == b"two\n"


def test_a_truncated_file_that_has_grown_past_the_place_is_noticed(tail, path):
    os.truncate(path, 0)
    write(path, b"something longer than before\n")
    assert tail.read(100) == (b"something longer than before\n", True)


def test_a_file_that_comes_later_is_read_from_its_beginning(tmp_path):
    tail = LogTail(tmp_path / "later")
    assert tail.read(100) == NOTHING
    assert tail.is_missing
    write(tail.path, b"one\n")
    assert tail.read(100).data == b"one\n"
    assert (tail.problem, tail.is_missing) == ("", False)
    tail.close()


def test_what_is_no_file_is_not_read(tmp_path):
    for make in (os.mkdir, os.mkfifo):
        path = tmp_path / make.__name__
        make(path)
        tail = LogTail(path)
        assert tail.read(100) == NOTHING
        assert tail.problem == "is no file"


def test_a_file_that_cannot_be_read_says_so_and_is_tried_again(path, monkeypatch):
    tail, real = LogTail(path), os.open

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    assert tail.read(100) == NOTHING
    assert tail.problem == "cannot be read: Permission denied"
    monkeypatch.setattr(os, "open", real)
    assert tail.read(100) == NOTHING  # it was there before: from its end
    assert tail.problem == ""
    tail.close()


def test_a_new_file_that_cannot_be_read_leaves_the_old_one_open(tail, path, monkeypatch):
    old = path.rename(path.with_name("messages.1"))
    write(path, b"new\n")

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        assert tail.read(100) == NOTHING
        assert "Permission denied" in tail.problem
        write(old, b"old again\n")
        assert tail.read(100).data == b"old again\n"
    assert tail.read(100) == (b"new\n", True)


def test_a_place_can_be_kept_and_gone_back_to(tail, path):
    write(path, b"one\ntw")
    mark = tail.skip()
    write(path, b"o\nthree\n")
    later = tail.skip()
    assert tail.read(100) == NOTHING
    assert tail.go_back(mark)
    assert tail.read(100).data == b"two\nthree\n"
    path.unlink()
    write(path, b"new\n")
    tail.skip()
    assert not tail.go_back(later)
    assert tail.read(100) == NOTHING


def test_a_place_in_a_file_that_shrank_is_gone(tail, path):
    write(path, b"one\ntwo\n")
    mark = tail.skip()
    os.truncate(path, 2)
    assert not tail.go_back(mark)


def test_nothing_can_be_kept_in_a_file_that_is_not_there(tmp_path):
    tail = LogTail(tmp_path / "nowhere")
    assert tail.skip() is None
