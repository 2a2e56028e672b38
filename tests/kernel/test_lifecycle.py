"""The real daemon and the real kernel: what a stop leaves, what a pause takes away, what a flush removes, and no more."""

from __future__ import annotations

import re
import signal
import socket

import pytest

from guard.cli import main
from tests.daemon.linking import SECRET, until
from tests.daemon.test_reload import wait
from tests.daemon.test_service import SVCRACK, TREE, command, guarding
from tests.kernel.conftest import elements, listed, nft, settled
from tests.netns import _ip
from tests.scripted_asterisk import ScriptedAsterisk

FOREIGN = """
table inet firewall {
    set office4 { type ipv4_addr; flags interval; elements = { 10.0.0.0/8 } }
    counter dropped_all { }
    chain guard { type filter hook prerouting priority raw; policy accept; ip saddr @office4 counter name dropped_all accept; }
}
table ip astguard { chain guard { type filter hook input priority 0; policy accept; } }
"""


def write(folder, port, more="", *, name="astguard", state="state.db"):
    config = folder / f"{name}.yaml"
    config.write_text(
        f"ami: {{port: {port}, secret: {SECRET}}}\nrules: [{TREE / 'rules'}]\nlogs: {{messages: no, security: no}}\n"
        f"control: {folder / name}.sock\nstate: {folder / state}\n{more}"
    )
    return config


def ours(place):
    return [table for table in listed(place, "table") if (table["family"], table["name"]) == ("inet", "astguard")]


@pytest.fixture
def story(place, tmp_path):
    """Run a story with a scripted Asterisk in the namespace of the daemon, and somebody else's rules beside."""
    nft(place, FOREIGN)
    before = place.run("nft", "list", "ruleset")

    def tell(told):
        async def whole():
            async with ScriptedAsterisk(secret=SECRET) as pbx:
                await told(pbx, write(tmp_path, pbx.port))

        wait(60, whole())
        place.run("nft", "delete", "table", "inet", "astguard", check=False)
        assert place.run("nft", "list", "ruleset") == before, "nothing of anybody else's has changed"

    return tell


async def banned(pbx, guard):
    await pbx.play(SVCRACK)
    await guard.says("WARNING ban 198.51.100.11/32")
    await guard.ask("bans", "add", "203.0.113.0/24", "--for", "1d")


def accepted(place):
    sets = [entry for entry in listed(place, "set") if entry["name"] == "allow4_32"]
    return [element for entry in sets for element in entry.get("elem", [])]


def held(place):
    return {*elements(place, "sip4_32"), *elements(place, "all4_24")}


BOTH = {"198.51.100.11", "203.0.113.0"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_bans_stay_in_the_kernel_when_the_daemon_ends_and_end_there_on_time(story, place, number):
    async def told(pbx, config):
        async with guarding(config) as guard:
            await banned(pbx, guard)
            assert (await guard.stop(number) == 0) is (number is not signal.SIGKILL)
            assert held(place) == BOTH
            assert 600 >= elements(place, "sip4_32")["198.51.100.11"] > 590
            assert 86_400 >= elements(place, "all4_24")["203.0.113.0"] > 86_390

    story(told)


def test_a_pause_lets_everybody_in_and_its_end_puts_the_bans_back_for_what_is_left(story, place):
    async def told(pbx, config):
        async with guarding(config) as guard:
            await banned(pbx, guard)
            assert (await guard.ask("pause"))["bans"] == 2
            assert ours(place) == []
            await pbx.play(SVCRACK.replace(b"198.51.100.11", b"198.51.100.99"))
            await guard.says("WARNING would ban 198.51.100.99/32")
            assert await guard.ask("status")  # which looks whether the table is there
            assert ours(place) == []
            await guard.stop(signal.SIGKILL)
        async with guarding(config) as guard:
            await guard.says("still paused, until 'astguard resume'")
            assert ours(place) == []
            await guard.ask("bans", "remove", "203.0.113.0/24")
            assert (await guard.ask("resume"))["bans"] == 1
            settled(lambda: set(elements(place, "sip4_32")), {"198.51.100.11"})
            assert 600 >= elements(place, "sip4_32")["198.51.100.11"] > 560
            assert elements(place, "all4_32") == {}
            await guard.ask("pause", "--for", "1s")
            assert ours(place) == []
            await guard.says("resume: bans=1 go back into the kernel", 2)
            settled(lambda: set(elements(place, "sip4_32")), {"198.51.100.11"})

    story(told)


def test_a_reload_leaves_the_bans_in_the_kernel_and_changes_ports_and_rate(story, place, tmp_path):
    async def told(pbx, config):
        async with guarding(config) as guard:
            await banned(pbx, guard)
            handles = {entry["name"]: entry["handle"] for entry in listed(place, "set") if entry["name"] in SETS}
            answer = await guard.ask("reload")
            assert answer["changed"] == []
            assert {
                entry["name"]: entry["handle"] for entry in listed(place, "set") if entry["name"] in SETS
            } == handles
            write(tmp_path, pbx.port, "firewall: {sip_ports: [5060, 5099], slow_rate: 9}\nallow: [192.0.2.0/24]\n")
            assert (await guard.ask("reload"))["changed"] == ["allow", "firewall.sip_ports", "firewall.slow_rate"]
            assert held(place) == BOTH
            assert set(elements_of_ports(place)) == {5060, 5099}
            assert "limit rate over 9/second" in place.run("nft", "list", "set", "inet", "astguard", "slow4_32")
            assert set(elements(place, "allow4_24")) == {"192.0.2.0"}

    story(told)


SETS = ("sip4_32", "all4_24", "sip_ports")


def elements_of_ports(place):
    (found,) = [entry for entry in listed(place, "set") if entry["name"] == "sip_ports"]
    return [element["concat"][1] for element in found["elem"]]


def test_who_is_allowed_for_a_time_is_accepted_by_the_kernel_for_that_time(story, place):
    async def told(_, config):
        async with guarding(config) as guard:
            await guard.ask("allow", "add", "192.0.2.7", "--for", "2s")
            assert "192.0.2.7" in elements(place, "allow4_32")
            await guard.says("disallow 192.0.2.7/32: its time is over")
            assert "192.0.2.7" not in elements(place, "allow4_32")

    story(told)


def test_an_address_that_comes_up_is_allowed_at_once_and_no_longer_when_it_goes(story, place):
    # An address by DHCP or PPP that changed was unprotected for up to a minute.
    async def told(_, config):
        async with guarding(config) as guard:

            async def own():
                return {entry["source"] for entry in await guard.ask("allow", "list")}

            assert "192.0.2.200/32" not in await own()
            _ip("-n", place.name, "address", "add", "192.0.2.200/24", "dev", "lo")
            await until(lambda: "192.0.2.200" in accepted(place))
            assert "192.0.2.200/32" in await own()
            _ip("-n", place.name, "address", "delete", "192.0.2.200/24", "dev", "lo")
            await until(lambda: "192.0.2.200" not in accepted(place))

    story(told)


def test_a_flush_takes_all_of_ours_and_nothing_else_and_not_from_a_running_daemon(story, place):
    async def told(pbx, config):
        async with guarding(config) as guard:
            await banned(pbx, guard)
            code, out, err = await guard.cli("flush")
            assert (code, out) == (1, "")
            assert re.fullmatch(
                rf"astguard: astguard runs, process {guard.process.pid}, and would put its bans back; stop it first, or "
                r"let everybody in with 'astguard pause'\n",
                err,
            )
            assert held(place) == BOTH
            await guard.stop()
        assert await command("flush", "--config", config) == (
            0, "took all that was astguard's out of nftables; nobody is kept out now\n", "",
        )  # fmt: skip
        assert ours(place) == []
        assert await command("flush", "--config", config) == (0, "nothing of astguard was in the kernel\n", "")
        assert (await command("flush", "--config", config, "-o", "json"))[1] == '{"flushed": []}\n'
        async with guarding(config):
            assert held(place) == BOTH, "what is stored is put back by the next start"
            await guard.stop()

    story(told)


def test_a_flush_without_the_right_to_it_says_what_is_needed(place, tmp_path, capsys, monkeypatch):
    from guard.errors import FirewallUnavailable
    from guard.firewall.nftables import Nftables

    def refuse(_):
        raise FirewallUnavailable("changing nftables needs root or CAP_NET_ADMIN in this network namespace")

    monkeypatch.setattr(Nftables, "teardown", refuse)
    assert main(["flush", "--socket", str(tmp_path / "none.sock")]) == 1
    assert capsys.readouterr().err == (
        "astguard: changing nftables needs root or CAP_NET_ADMIN in this network namespace\n"
    )


def test_a_daemon_that_is_hung_is_not_taken_for_dead(place, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("guard.cli.client.SECONDS", 0.05)
    path = tmp_path / "hung.sock"
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(path))
        silent.listen(1)
        assert main(["flush", "--socket", str(path)]) == 3
    assert "gives no answer" in capsys.readouterr().err
    assert main(["flush", "--socket", str(path)]) == 0  # nobody listens there any more


def test_two_daemons_cannot_run_on_one_state_nor_on_one_socket(story, place, tmp_path):
    async def told(pbx, config):
        async with guarding(config) as guard:
            await banned(pbx, guard)
            code, _, err = await command("run", "--config", config)
            assert code == 1
            assert "Traceback" not in err
            other = write(tmp_path, pbx.port, name="other")
            code, _, err = await command("run", "--config", other)
            assert (code, str(guard.process.pid) in err) == (1, True)
            assert "Traceback" not in err
            assert not (tmp_path / "other.sock").exists()
            assert held(place) == BOTH
            assert len(await guard.ask("bans", "list")) == 2

    story(told)
