"""From how many addresses the logs tell, on recordings of real Asterisk."""

from __future__ import annotations

import lzma
from pathlib import Path

from guard.core.address import show_short
from guard.doctor import senders as module
from guard.doctor.senders import Senders, read_senders

CORPUS = Path(__file__).parents[2] / "corpus/22.10.1"


def test_the_senders_of_a_busy_log_are_many(tmp_path):
    messages, security = tmp_path / "messages", tmp_path / "security"
    messages.write_bytes(lzma.decompress((CORPUS / "mixed-20k.messages.xz").read_bytes()))
    security.write_bytes(lzma.decompress((CORPUS / "mixed-20k.log.xz").read_bytes())[-3_000_000:])
    seen = read_senders([messages], [security])
    assert seen.events > 1_000
    assert seen.hosts > 10


def test_a_proxy_is_one_sender_with_many_accounts(tmp_path):
    """What a log behind a proxy looks like: the recorded lines, with one address for all."""
    text = lzma.decompress((CORPUS / "mixed-20k.messages.xz").read_bytes()).decode("utf-8", "replace")
    lines = [line for line in text.split("\n") if "failed for '198.51.100." in line]
    for number in range(256):
        lines = [line.replace(f"failed for '198.51.100.{number}:", "failed for '10.0.0.5:") for line in lines]
    log = tmp_path / "messages"
    log.write_text("\n".join(lines) + "\n")
    seen = read_senders([log], [])
    assert (seen.hosts, show_short(seen.host)) == (1, "10.0.0.5")
    assert seen.events >= 50
    assert seen.accounts >= 5


def test_a_cut_first_line_and_what_is_no_log_count_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "TAIL", 40)
    (tmp_path / "log").write_bytes(b"\xff\0" * 500)
    assert read_senders([tmp_path / "log", tmp_path / "none", tmp_path], [tmp_path / "log"]) == Senders()
