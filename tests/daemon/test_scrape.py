"""A running guard, scraped: over its control socket and over TCP, judged by promtool, and by what we ship beside it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import socket
import subprocess
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from guard.api import scrape
from guard.api.scrape import CLIENTS, ScrapeServer
from guard.errors import ControlError
from tests.daemon.linking import SECRET, run, until
from tests.daemon.test_service import SVCRACK, TREE, configure, guarding
from tests.scripted_asterisk import ScriptedAsterisk

RULES = TREE / "packaging/prometheus/astguard.rules.yml"
BOARD = TREE / "packaging/grafana/astguard.json"
PAGE = TREE / "docs/metrics.md"
OF_PROMETHEUS = {"job", "instance"}
"""Labels that a scrape adds."""


def promtool(*words, given=None):
    """Run promtool, which is part of Debian's package prometheus; return what it says."""
    default = Path.home() / ".cache/astguard/prometheus/promtool"
    tool = shutil.which("promtool") or os.environ.get("ASTGUARD_PROMTOOL") or default
    if not Path(tool).is_file():
        pytest.skip(f"no promtool: neither on PATH nor at {default} (script/test fetches it)")
    done = subprocess.run([tool, *map(str, words)], input=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


async def ask(path, *, unix=None, port=None, method="GET"):
    connector = aiohttp.UnixConnector(str(unix)) if unix else aiohttp.TCPConnector()
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.request(method, f"http://127.0.0.1:{port or 80}{path}") as answer,
    ):
        return answer.status, answer.headers.get("Content-Type", ""), await answer.text()


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Return what a guard shows that has banned svcrack's recording, and was asked for it in both ways."""
    folder = tmp_path_factory.mktemp("guard")

    async def told():
        port = free_port()
        async with (
            ScriptedAsterisk(secret=SECRET) as pbx,
            guarding(configure(folder, pbx.port, more=f"metrics: {{port: {port}}}\n")) as guard,
        ):
            await pbx.play(SVCRACK)
            await guard.says("WARNING ban")
            over_unix = await ask("/metrics", unix=folder / "control.sock")
            over_tcp = await ask("/metrics", port=port)
            assert over_unix[:2] == over_tcp[:2] == (200, "text/plain; version=0.0.4; charset=utf-8")
            assert ours(over_unix[2]) == ours(over_tcp[2])
            return over_tcp[2]

    return run(told())


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def ours(page):
    """Leave out the process's own numbers, which change between two scrapes."""
    return [line for line in page.splitlines() if line.startswith("astguard_")]


def samples(page):
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }


def test_a_scrape_tells_what_happened(page):
    told = samples(page)
    assert told["astguard_bans_total", ("rule", "pjsip-guessing"), ("scope", "sip")] == 1
    assert told["astguard_active_bans", ("family", "ipv4"), ("scope", "sip")] == 1
    assert told["astguard_link_state", ("state", "up")] == told["astguard_self_test", ("result", "ok")] == 1
    assert told["astguard_firewall_ok", ("backend", "memory")] == told["astguard_enforcing",] == 1
    events = told["astguard_events_total",]
    assert events == told["astguard_ami_lag_seconds_count",] == 23
    outcomes = {dict(key[1:])["outcome"]: n for key, n in told.items() if key[0] == "astguard_outcomes_total"}
    assert sum(outcomes.values()) == events
    assert outcomes["banned"] == told["astguard_ban_seconds_count",] == 1
    assert told["astguard_event_to_kernel_seconds_count", ("by", "event")] == 1
    assert 0 < told["astguard_ban_seconds_sum",] < 5
    assert told["process_resident_memory_bytes",] > 10_000_000


def test_promtool_has_nothing_to_say_about_a_scrape(page):
    assert promtool("check", "metrics", given=page) == ""


def test_the_alerts_are_sound_and_say_what_they_should(tmp_path):
    assert "15 rules found" in promtool("check", "rules", RULES)
    promtool("test", "rules", RULES.with_name("astguard.test.yml"))
    alerts = set(re.findall(r"- alert: (\w+)", RULES.read_text()))
    tested = set(re.findall(r"alertname: (\w+)\n +exp_alerts", RULES.with_name("astguard.test.yml").read_text()))
    assert tested == alerts


def test_an_alert_that_is_wrong_would_be_found(tmp_path):
    """Or the tests above would pass whatever the rules say."""
    shutil.copy(RULES.with_name("astguard.test.yml"), tmp_path)
    (tmp_path / RULES.name).write_text(RULES.read_text().replace('"up"} == 0', '"up"} == 1'))
    with pytest.raises(AssertionError, match="AstguardDeaf"):
        promtool("test", "rules", tmp_path / "astguard.test.yml")


def expressions():
    yield from (match.strip('"') for match in re.findall(r"^ +expr: (.*)$", RULES.read_text(), re.MULTILINE))
    for panel in json.loads(BOARD.read_text())["panels"]:
        for target in panel["targets"]:
            yield target["expr"].replace("$__rate_interval", "5m")


def names_in(expression):
    """Return the metrics, the labels and the pairs of label and value that an expression names."""
    pairs = set(re.findall(r'(\w+)="([^"]*)"', expression))
    labels = set(re.findall(r"(\w+)=~?\"", expression))
    for listed in re.findall(r"\b(?:by|on|without|ignoring) \(([^)]*)\)", expression):
        labels |= set(re.findall(r"\w+", listed))
    bare = re.sub(r'"[^"]*"|\{[^}]*\}|\b(?:by|on|without|ignoring|group_left) \([^)]*\)|\[[^]]*\]', "", expression)
    metrics = {word for word in re.findall(r"[a-z_][a-z0-9_]*", bare) if "_" in word or word == "up"}
    return metrics - {"histogram_quantile"}, labels, pairs


def test_every_expression_names_only_what_the_guard_tells(page, tmp_path):
    told = samples(page) | {("up",): 1}
    labels = {name: set() for name, *_ in told}
    for name, *pairs in told:
        labels[name] |= set(pairs)
    everything = list(expressions())
    assert len(everything) > 40
    for expression in everything:
        metrics, asked, pairs = names_in(expression)
        assert metrics, expression
        assert metrics <= labels.keys(), expression
        known = {name for metric in metrics for name, _ in labels[metric]}
        assert asked <= known | OF_PROMETHEUS, expression
        values = {pair for metric in metrics for pair in labels[metric]}
        assert {pair for pair in pairs if pair[0] not in OF_PROMETHEUS} <= values, expression
    groups = [{"record": f"x:{number}", "expr": expression} for number, expression in enumerate(everything)]
    (tmp_path / "all.yml").write_text(json.dumps({"groups": [{"name": "all", "rules": groups}]}))
    promtool("check", "rules", tmp_path / "all.yml")


@pytest.mark.parametrize(
    "expression",
    ['astguard_bans{rule="x"}', "sum by (address) (astguard_active_bans)", 'astguard_link_state{state="down"}'],
)
def test_an_expression_that_names_something_else_would_be_found(page, monkeypatch, tmp_path, expression):
    monkeypatch.setattr("tests.daemon.test_scrape.expressions", lambda: [expression] * 50)
    monkeypatch.setitem(globals(), "expressions", lambda: [expression] * 50)
    with pytest.raises(AssertionError):
        test_every_expression_names_only_what_the_guard_tells(page, tmp_path)


def test_the_board_can_be_imported():
    """Grafana asks for the data source that `__inputs` names, and puts it wherever the variable stands."""
    board = json.loads(BOARD.read_text())
    (given,) = board["__inputs"]
    assert (given["name"], given["type"]) == ("DS_PROMETHEUS", "datasource")
    assert board["schemaVersion"] >= 36
    assert "id" not in board
    panels = board["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        assert panel["description"]
        for part in (panel, *panel["targets"]):
            assert part["datasource"] == {"type": "prometheus", "uid": "${DS_PROMETHEUS}"}
    kinds = {required["id"] for required in board["__requires"] if required["type"] == "panel"}
    assert {panel["type"] for panel in panels} == kinds


def test_no_two_panels_lie_upon_each_other():
    taken = set()
    for panel in json.loads(BOARD.read_text())["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken
        assert place["x"] + place["w"] <= 24
        taken |= cells


def test_every_metric_is_explained_in_the_manual(page):
    """And the manual explains none that there is not."""
    told = {family.name for family in text_string_to_metric_families(page) if family.name.startswith("astguard")}
    families = {name + "_total" if f"{name}_total" in {key[0] for key in samples(page)} else name for name in told}
    assert set(re.findall(r"`(astguard_\w+)", PAGE.read_text())) == families


def test_the_manual_tells_of_every_table_and_every_alert(page):
    text = PAGE.read_text()
    for key in samples(page):
        if key[0] == "astguard_table_entries":
            assert f"`{dict(key[1:])['table']}`" in text
    for alert in re.findall(r"- alert: (\w+)", RULES.read_text()):
        assert f"`{alert}`" in text


# --- The TCP port --------------------------------------------------------------------------------------------------


class Paper:
    """Metrics of one line."""

    def page(self):
        return b"up 1\n"


@asynccontextmanager
async def scraping(address="127.0.0.1"):
    counted = []
    server = ScrapeServer(Paper(), address, 0, counted.append)
    server.counted = counted
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


async def hung_up(reader):
    """Wait for the end of a connection; tell whether it ended without a word."""
    try:
        return await reader.read() == b""
    except ConnectionError:
        return True


def test_there_is_one_page_and_nothing_can_be_changed():
    async def told():
        async with scraping() as server:
            for path, method, status in (
                ("/metrics", "GET", 200), ("/metrics", "HEAD", 200), ("/metrics?x=1", "GET", 200),
                ("/metrics", "POST", 405), ("/metrics", "DELETE", 405), ("/", "GET", 404), ("/v1/bans", "GET", 404),
                ("/v1/bans/198.51.100.7", "DELETE", 404),
            ):  # fmt: skip
                assert (await ask(path, port=server.port, method=method))[0] == status, (path, method)

    run(told())


def test_garbage_is_answered_or_cut_off_and_the_next_scrape_goes_on():
    async def told():
        async with scraping() as server:
            for garbage in (b"\x00" * 4_000, b"GET /metrics HTTP/9.9\r\n\r\n", b"GET " + b"a" * 20_000 + b"\r\n\r\n"):
                reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
                writer.write(garbage)
                writer.write_eof()
                answer = await reader.read()
                assert answer == b"" or (answer.startswith(b"HTTP/1.") and b" 400 " in answer)
                writer.close()
            assert (await ask("/metrics", port=server.port))[2] == "up 1\n"

    run(told())


def test_whoever_says_nothing_is_hung_up_on(monkeypatch):
    monkeypatch.setattr(scrape, "LIFETIME", 0.05)

    async def told():
        async with scraping() as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"GET /metr")
            assert await hung_up(reader)
            writer.close()

    run(told())


def test_there_are_few_connections_at_a_time_and_the_rest_is_counted():
    async def told():
        async with scraping() as server:
            held = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(CLIENTS)]
            held[0][1].write(b"GET /metrics HTTP/1.1\r\n")  # all are there for the server too
            late, writer = await asyncio.open_connection("127.0.0.1", server.port)
            assert await hung_up(late)
            assert server.counted == ["metrics.crowded"]
            for _, open_one in [*held, (late, writer)]:
                open_one.close()
            await until(lambda: not server._door._inside)
            assert (await ask("/metrics", port=server.port))[0] == 200

    run(told())


def test_a_port_that_is_taken_is_an_error_that_names_the_key():
    async def told():
        async with scraping() as first:
            second = ScrapeServer(Paper(), "127.0.0.1", first.port, list)
            with pytest.raises(
                ControlError, match=rf"cannot answer Prometheus on 127.0.0.1 port {first.port}: .*'metrics'"
            ):
                await second.start()

    run(told())


def test_it_stops_while_somebody_dawdles():
    async def told():
        async with scraping() as server:
            _, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"GET")
            await until(lambda: server._door._inside)
        writer.close()

    run(told())


def test_it_listens_on_ipv6_too():
    async def told():
        async with scraping("::1") as server:
            _, writer = await asyncio.open_connection("::1", server.port)
            writer.close()

    run(told())
