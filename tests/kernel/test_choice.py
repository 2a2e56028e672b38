"""Which backend `auto` takes here, and that no library is loaded for a backend that is not chosen."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from guard.errors import FirewallError
from guard.firewall import host as hosts
from guard.firewall.choice import choose, pick, resolve
from guard.firewall.host import Host, look_at_host

IN_USE = ["filter", "raw"]


@pytest.mark.parametrize(
    ("host", "name", "why"),
    [
        (Host(True, "nft", None), "nftables", "the command iptables is iptables-nft here"),
        (Host(True, "nft", IN_USE), "nftables", "the command iptables is iptables-nft here"),
        (Host(True, "", []), "nftables", "there is no command iptables here; no legacy table is in use"),
        (Host(True, "legacy", None), "nftables", "but this kernel has no legacy tables"),
        (Host(True, "legacy", IN_USE), "nftables", "nf_tables works beside it; legacy tables in use: filter, raw"),
        (Host(False, "legacy", IN_USE), "iptables", "this kernel has no nf_tables; legacy tables in use: filter, raw"),
        (Host(False, "", None), "iptables", "this kernel has no nf_tables; no legacy table is in use"),
        (Host(None, "", []), "nftables", "there is no command iptables here"),
    ],
)
def test_auto_takes_nftables_wherever_the_kernel_has_it_and_says_why(host, name, why):
    chosen, said = pick(host)
    assert chosen == name
    assert why in said


def test_the_host_is_seen_as_it_is(place, monkeypatch, tmp_path):
    for kind, program in (("nft", "xtables-nft-multi"), ("legacy", "xtables-legacy-multi"), ("", "busybox")):
        folder = tmp_path / f"with {kind}"
        folder.mkdir()
        (folder / program).write_text("#!/bin/sh\nexit 1\n")
        (folder / program).chmod(0o755)
        (folder / "alternative").symlink_to(program)
        (folder / "iptables").symlink_to("alternative")  # as Debian's /etc/alternatives
        monkeypatch.setattr(hosts, "_FOLDERS", str(folder))
        assert look_at_host().iptables == kind
    monkeypatch.setattr(hosts, "_FOLDERS", str(tmp_path))
    assert look_at_host().iptables == ""
    assert look_at_host().nf_tables is True
    place.run("iptables-legacy", "-t", "mangle", "-S")
    with place.inside():
        assert "mangle" in look_at_host().legacy
    before = place.run("nft", "list", "ruleset")
    look_at_host()
    assert place.run("nft", "list", "ruleset") == before


def test_a_kernel_without_nf_tables_means_iptables(monkeypatch):
    real = hosts.wire.request
    # Nobody answers for this subsystem, as for nf_tables in a kernel that was built without.
    monkeypatch.setattr(hosts.wire, "request", lambda message, number: real(message, number, 63))
    assert look_at_host().nf_tables is False
    assert choose("auto").name == "iptables"
    assert "this kernel has no nf_tables" in choose("auto").why


def test_who_may_not_ask_is_told_what_can_be_seen(place):
    program = (
        "import os, sys; sys.path.insert(0, sys.argv[1]); os.setgroups([]); os.setuid(65534)\n"
        "from guard.firewall.host import look_at_host\n"
        "from guard.firewall.choice import resolve\n"
        "print(look_at_host().nf_tables, resolve('auto')[0])\n"
    )
    said = place.run(sys.executable, "-W", "error", "-c", program, str(Path(__file__).parents[2]))
    assert said.split() == ["None", "nftables"]


def test_the_backends_are_known_by_name_and_load_their_libraries_only_then():
    program = (
        "import sys; from guard.firewall.choice import choose, resolve\n"
        "def loaded(*names): return [name for name in names if name in sys.modules]\n"
        "resolve('auto'); print(choose('memory').name, loaded('pyroute2', 'iptc'))\n"
        "print(choose('auto').name, choose('nftables').name, loaded('pyroute2', 'iptc'))\n"
        "print(choose('iptables').name, loaded('pyroute2', 'iptc'))\n"
    )
    environment = {**os.environ, "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
        env=environment,
    )
    assert done.stdout.splitlines() == [
        "memory []",
        "nftables nftables ['pyroute2']",
        "iptables ['pyroute2']",
    ]
    with pytest.raises(FirewallError, match="'pf' is no firewall backend, expected one of auto, nftables"):
        choose("pf")
    assert choose("nftables").why == resolve("memory")[1] == "configured"
