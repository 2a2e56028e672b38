"""astguard.yaml: the defaults, the keys, every mistake at once, the allowlist, and a secret that is never shown."""

import dataclasses
import json
import os
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.core.address import show, show_short
from guard.core.rule import Mode
from guard.core.units import HOUR, MINUTE
from guard.errors import ConfigError
from guard.settings.api import Api
from guard.settings.config import Ami, Backend, Changers, Config, Firewall, Metrics, Statsd, load_config, parse_config
from guard.settings.logs import Logs, zone
from guard.settings.mistakes import Place
from guard.settings.rulefile import Folder, load_rules, stock_rules_folder
from guard.settings.secretfile import is_credential
from guard.settings.supplements import Wanted

SHIPPED = Path(__file__).parents[3] / "packaging/etc/astguard.yaml"


def config(text):
    return parse_config(text.encode(), Path("/etc/x/astguard.yaml"))


def mistakes_of(text):
    with pytest.raises(ConfigError) as caught:
        config(text)
    return [line.removeprefix("/etc/x/astguard.yaml:") for line in caught.value.mistakes]


@pytest.mark.parametrize("text", ["", "# all comment\n", "ami:\nfirewall:\nallow:\n", "ami: {}\nallow: []\n"])
def test_nothing_given_means_the_documented_defaults(text):
    read = config(text)
    assert read == Config(ami=Ami(place=read.ami.place))
    assert read.mode is Mode.ENFORCE
    assert (read.ami.host, read.ami.port, read.ami.tls, read.ami.username) == ("127.0.0.1", 5038, False, "astguard")
    assert (read.ami.secret, read.ami.secret_file, read.ami.tls_ca) == (None, None, None)
    assert read.firewall == Firewall(backend=Backend.AUTO, sip_ports=(5060, 5061, 4569), slow_rate=5)
    assert (read.logs, str(read.logs.logger_conf)) == (Logs(), "/etc/asterisk/logger.conf")
    assert (read.logs.messages, read.logs.security, read.logs.timezone) == (None, None, None)
    assert read.unproven_max == HOUR
    assert (read.allow, read.allow_names, read.statsd, read.metrics) == ((), (), None, None)
    assert read.rules == (Folder(stock_rules_folder()), Folder(Path("/etc/astguard/rules")))
    assert (str(read.state), str(read.control)) == ("/var/lib/astguard/astguard.db", "/run/astguard/astguard.sock")


def test_every_key_is_read():
    read = config("""
mode: observe
ami: {host: pbx.example.org, port: 7777, tls: yes, tls_ca: ca.pem, username: guard, secret: s3cret}
firewall: {backend: memory, sip_ports: [5060, 5070], slow_rate: 8, bans_max: 1000000}
allow: [192.0.2.0/24]
rules: [/opt/rules, more]
logs: {messages: [a.log, /var/b.log], security: no, logger_conf: logger.conf, timezone: Europe/Berlin}
unproven_max: 30m
statsd: {host: "2001:db8::9", port: 9125, prefix: pbx-1.eu, meter_support: no}
metrics: {address: "::1", port: 9100}
state: /srv/a.db
control: ../run/a.sock
""")
    assert read == Config(
        mode=Mode.OBSERVE,
        ami=Ami(
            host="pbx.example.org",
            port=7777,
            tls=True,
            tls_ca=Path("/etc/x/ca.pem"),
            username="guard",
            secret="s3cret",
            place=Place("/etc/x/astguard.yaml", 3, 6),
        ),
        logs=Logs(
            messages=(Path("/etc/x/a.log"), Path("/var/b.log")),
            security=(),
            logger_conf=Path("/etc/x/logger.conf"),
            timezone="Europe/Berlin",
        ),
        firewall=Firewall(backend=Backend.MEMORY, sip_ports=(5060, 5070), slow_rate=8, bans_max=1_000_000),
        unproven_max=30 * MINUTE,
        allow=read.allow,
        rules=(
            Folder(Path("/opt/rules"), Place("/etc/x/astguard.yaml", 6, 9)),
            Folder(Path("/etc/x/more"), Place("/etc/x/astguard.yaml", 6, 21)),
        ),
        statsd=Statsd(host="2001:db8::9", port=9125, prefix="pbx-1.eu", meter_support=False),
        metrics=Metrics(address="::1", port=9100),
        state=Path("/srv/a.db"),
        control=Path("/etc/x/../run/a.sock"),
    )
    assert config("ami: {secret_file: /run/credentials/s}").ami.secret_file == Path("/run/credentials/s")


def test_every_mistake_of_the_file_is_named_at_once_in_its_place():
    text = """\
mode: enforced
amy: {}
ami:
  host: "a b"
  port: 65536
  tls: on
  tls_ca:
  user: x
  username: "a\\tb"
  secret: x
  secret_file: y
firewall: {backend: nftable, sip_ports: [5060, 0, 5060, 05061]}
allow:
  - 198.51.100.7/24
  - 198.51.100.300
  - 2001:db8::
  - 0.0.0.0/0
  - not a name
  - fe80::1%eth0
rules: []
statsd: {prefix: a/b, meter_support: 1, port: [8125]}
state: ""
control: {path: x}
mode: observe
"""
    assert mistakes_of(text) == [
        "1:7: 'enforced' is not a mode; did you mean 'enforce'?",
        "2:1: unknown key 'amy'; did you mean 'ami'?",
        "4:9: 'a b' is not a host; write it like 127.0.0.1, ::1 or pbx.example.org",
        "5:9: '65536' is not a whole number from 1 to 65535",
        "6:8: 'on' is not yes or no; write one of yes, no, true, false",
        "7:10: 'tls_ca' has no value",
        "8:3: unknown key 'user'; did you mean 'username'?",
        r"9:13: 'a\tb' is not a user of manager.conf",
        "11:16: 'secret' and 'secret_file' are both given; keep 'secret_file'",
        "12:21: 'nftable' is not a backend; did you mean 'nftables'?",
        "12:48: '0' is not a whole number from 1 to 65535",
        "12:51: '5060' is given twice",
        "12:57: '05061' is not a whole number from 1 to 65535",
        "14:5: '198.51.100.7/24' has bits set behind its prefix; did you mean 198.51.100.0/24?",
        "15:5: '198.51.100.300' is not an address or network; write it like 198.51.100.7, 198.51.100.0/24 or 2001:db8::/64",
        "16:5: 'allow' takes text here, not a mapping; put text with a colon into quotes",
        "17:5: '0.0.0.0/0' allows everybody; to watch without bans, write 'mode: observe'",
        "18:5: 'not a name' is not an address, a network or the name of a host",
        "19:5: 'fe80::1%eth0' has a zone, which a packet's source has not; write it without",
        "20:8: 'rules' has no value",
        "21:18: 'a/b' is not a prefix; it has at most 40 letters, digits, '_', '.' and '-'",
        "21:38: '1' is not yes or no; write one of yes, no, true, false",
        "21:47: 'port' takes one value here, not a list",
        "22:8: '' is not a path",
        "23:10: 'control' takes text here, not a mapping; put text with a colon into quotes",
        "24:1: 'mode' is given twice, first in line 1",
    ]


def test_mistakes_in_the_logs_and_the_limits():
    text = """\
logs:
  messages: [a.log, no]
  security: yes
  timezone: Europe
  zone: UTC
firewall: {slow_rate: 0}
unproven_max: 2d
"""
    assert mistakes_of(text) == [
        "2:21: 'no' stands alone: 'messages' names files, or it is 'no'",
        "3:13: to read what logger.conf names, leave 'security' out; else name the files",
        "4:13: 'Europe' is no time zone; write it like Europe/Berlin, UTC or +01:00",
        "5:3: unknown key 'zone'; did you mean 'timezone'?",
        "6:23: '0' is not a whole number from 1 to 1000",
        "7:15: '2d' is not from 1m to 1d",
    ]


@pytest.mark.parametrize(
    "text", ["", "Mars/Olympus", "../../etc/passwd", "/etc/localtime", "1:00", "+24:00", "+01", "a\0"]
)
def test_no_time_zone(text):
    with pytest.raises(ValueError, match="is no time zone; write it like"):
        zone(text)


def test_time_zones():
    moment = datetime(2026, 7, 1, tzinfo=UTC)
    offsets = [moment.astimezone(zone(text)).strftime("%z") for text in ("UTC", "Europe/Berlin", "-03:30", "+00:00")]
    assert offsets == ["+0000", "+0200", "-0330", "+0000"]


def test_a_system_without_time_zones_knows_utc_all_the_same(monkeypatch):
    """A minimal Debian has no tzdata; found by a unit that did not start."""

    def nothing(name):
        raise LookupError(name)

    monkeypatch.setattr("guard.settings.logs.ZoneInfo", nothing)
    assert zone("UTC") is UTC


def test_every_backend_is_known_by_its_name():
    for name in ("auto", "nftables", "iptables", "memory"):
        assert config(f"firewall: {{backend: {name}}}").firewall.backend == name
    assert mistakes_of("firewall: {backend: iptabels}") == [
        "1:21: 'iptabels' is not a backend; did you mean 'iptables'?"
    ]


@pytest.mark.parametrize(("word", "value"), [("yes", True), ("true", True), ("no", False), ("false", False)])
def test_yes_and_no_are_written_in_four_words(word, value):
    assert config(f"ami: {{tls: {word}}}").ami.tls is value


@pytest.mark.parametrize("word", ["on", "off", "Yes", "NO", "y", "n", "1", "0", "True"])
def test_other_words_for_yes_and_no_are_mistakes(word):
    (said,) = mistakes_of(f"ami: {{tls: {word}}}")
    assert said.startswith(f"1:12: {word!r} is not yes or no")


def test_the_port_follows_tls_unless_it_is_given():
    assert config("ami: {tls: no}").ami.port == 5038
    assert config("ami: {tls: yes}").ami.port == 5039
    assert config("ami: {tls: yes, port: 1}").ami.port == 1


@pytest.mark.parametrize(
    ("ami", "verify"),
    [
        ("host: 127.0.0.1", False),
        ("host: 127.0.1.1", False),
        ("host: '::1'", False),
        ("host: localhost", False),
        ("host: localhost, tls_ca: ca.pem", True),
        ("host: 192.0.2.1", True),
        ("host: pbx.example.org", True),
        ("host: localhost.example.org", True),
    ],
)
def test_a_certificate_is_checked_but_on_loopback(ami, verify):
    assert config(f"ami: {{tls: yes, {ami}}}").ami.tls_verify is verify


def test_a_certificate_without_tls_is_a_mistake():
    assert mistakes_of("ami: {tls_ca: ca.pem}") == ["1:15: 'tls_ca' has no use without 'tls: yes'"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("198.51.100.7", "198.51.100.7/32"),
        ("198.51.100.0/24", "198.51.100.0/24"),
        ("2001:db8::7", "2001:db8::7/128"),
        ("'2001:db8::/32'", "2001:db8::/32"),
        ("::ffff:198.51.100.7", "198.51.100.7/32"),
        ("::ffff:198.51.100.0/120", "198.51.100.0/24"),
    ],
)
def test_an_allowed_address_is_parsed_once_and_keeps_its_place(text, value):
    (entry,) = config(f"allow:\n- {text}\n").allow
    assert show(entry.source) == value
    assert str(entry.place) == "/etc/x/astguard.yaml:2:3"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Sip.Provider.Example.", "sip.provider.example"),
        ("office", "office"),
        ("3cx.example.org", "3cx.example.org"),
        ("a_b.example", "a_b.example"),
        ("no", "no"),
        (".".join(["a" * 63] * 3 + ["b" * 61]), ".".join(["a" * 63] * 3 + ["b" * 61])),
    ],
)
def test_an_allowed_name_is_kept_apart(text, name):
    read = config(f"allow: [192.0.2.1, {text}]")
    assert [show_short(entry.source) for entry in read.allow] == ["192.0.2.1"]
    assert [(entry.name, str(entry.place)) for entry in read.allow_names] == [(name, "/etc/x/astguard.yaml:1:20")]


@pytest.mark.parametrize(
    "text",
    ["-a.example", "a-.example", "a..example", ".", ".a", "a" * 64, ".".join(["a" * 63] * 3 + ["b" * 62]), "bücher.example", "a b",
     "sip:provider.example", "provider.example:5060", "010.0.0.1", "1.2.3", "1234", "10.0.0.0/33", "[::1]", "*.example"],
)  # fmt: skip
def test_what_is_neither_address_nor_name_is_a_mistake(text):
    (said,) = mistakes_of(f'allow: ["{text}"]')
    assert said.startswith(f"1:9: {text!r} is not an address"[:100])


def test_allowing_a_network_twice_is_no_mistake():
    assert len(config("allow: [192.0.2.1, 192.0.2.1, 192.0.2.0/24]").allow) == 3


def test_one_allowed_entry_needs_no_list():
    assert len(config("allow: 192.0.2.1").allow) == 1


def test_changes_may_be_left_to_root():
    assert config("").control_changes is Changers.ALL
    assert config("control_changes: root").control_changes is Changers.ROOT
    assert mistakes_of("control_changes: rood") == ["1:18: 'rood' is not who may change; did you mean 'root'?"]


def test_metrics_are_scraped_on_loopback_unless_an_address_is_written():
    assert config("metrics:\n").metrics == Metrics(address="127.0.0.1", port=9877)
    assert config("metrics: {port: 80}").metrics == Metrics(port=80)
    assert config("metrics: {address: 0.0.0.0}").metrics.address == "0.0.0.0"
    assert mistakes_of("metrics: {address: localhost, port: 0}") == [
        "1:20: 'localhost' is not an address to listen on; write 127.0.0.1 or ::1, or one of this machine's own",
        "1:37: '0' is not a whole number from 1 to 65535",
    ]


def test_a_given_statsd_section_without_keys_means_its_defaults():
    assert config("statsd:\n").statsd == Statsd(host="127.0.0.1", port=8125, prefix="", meter_support=True)
    assert config("statsd: {prefix: ''}").statsd == Statsd()


@pytest.mark.parametrize(
    ("prefix", "fits"), [("a" * 40, True), ("a" * 41, False), ("a b", False), ("a:b", False), ("é", False)]
)
def test_a_meter_prefix_cannot_break_a_datagram(prefix, fits):
    if fits:
        assert config(f"statsd: {{prefix: {prefix}}}").statsd.prefix == prefix
    else:
        assert "is not a prefix" in mistakes_of(f"statsd: {{prefix: '{prefix}'}}")[0]


def test_a_socket_path_fits_the_kernel():
    assert config(f"control: /{'a' * 106}").control == Path(f"/{'a' * 106}")
    assert mistakes_of(f"control: /{'é' * 54}") == ["1:10: the path of a socket has at most 107 bytes"]


@pytest.mark.parametrize("value", ["''", '"a b"', '"a\\u00a0b"', '"a\\nb"', "a" * 254])
def test_a_host_is_one_word(value):
    assert len(mistakes_of(f"ami: {{host: {value}}}")) == 1


def test_a_username_is_one_line():
    assert config("ami: {username: my guard}").ami.username == "my guard"
    for value in ("''", '"a\\nAction: x"', "a" * 81):
        assert len(mistakes_of(f"ami: {{username: {value}}}")) == 1


def test_a_missing_file_says_what_to_do(tmp_path):
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path / "astguard.yaml")
    said = f"{tmp_path}/astguard.yaml:1:1: no such file; make it, an empty one means the defaults"
    assert caught.value.mistakes == (said,)
    assert caught.value.exit_code == 78


def test_an_unreadable_file_is_a_mistake(tmp_path):
    with pytest.raises(ConfigError, match="1:1: cannot be read: Is a directory"):
        load_config(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="1:1: cannot be read: Not a directory"):
        load_config(tmp_path / "file/astguard.yaml")
    with pytest.raises(ConfigError, match="1:1: cannot be read: "):
        load_config(Path("a\0b"))


# --- The secret ----------------------------------------------------------------------------------------------------

SECRET = "hunter2-Zwiebelkuchen"


def test_the_secret_is_in_no_repr():
    read = config(f"ami: {{secret: {SECRET}}}")
    assert read.ami.read_secret() == SECRET
    assert SECRET not in repr(read) + str(read)


@pytest.mark.parametrize(
    "text",
    [
        "ami: {secret: [SECRET]}",
        "ami: {secret: {SECRET: 1}}",
        "ami: {secret: &x SECRET}",
        "ami: {secret: !x SECRET}",
        "ami: {secret: *SECRET}",
        'ami: {secret: "SECRET\\n"}',
        'ami: {secret: " SECRET"}',
        'ami: {secret: "SECRET',
        'ami: {secret: "SECRET\\q"}',
        "ami: {secret: " + "SECRET" * 100 + "}",
        "ami: {secret: SECRET, secret: SECRET}",
        "ami: {secret: SECRET, secret_file: x}",
        "ami: {secret: a, SECRET}",
        "ami: {secret:SECRET}",
        "ami: {secret:SECRET, secret:SECRET}",
        "ami:\n  secret:SECRET\n",
        "ami:\n  secret:SECRET\n  port: 1\n",
        "ami:\n  secret: SECRET: b\n",
        "ami:\n  secret: SECRET\n   b: c\n",
        "ami: SECRET",
        "SECRET",
        "secret:SECRET",
    ],
)
def test_the_secret_is_in_no_mistake(text):
    for line in mistakes_of(text.replace("SECRET", SECRET)):
        assert not re.search("hunter|Zwiebel", line)


@pytest.fixture
def secret_file(tmp_path):
    path = tmp_path / "ami.secret"
    path.touch(mode=0o640)

    def write(data):
        path.write_bytes(data)
        return Ami(secret_file=path)

    return write


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_a_secret_file_holds_the_secret_on_one_line(secret_file, end):
    assert secret_file(SECRET.encode() + end).read_secret() == SECRET


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "a secret has 1 to 256 characters"),
        (b"\n", "a secret has 1 to 256 characters"),
        (b"Zwiebel" * 40, "a secret has 1 to 256 characters"),
        (b"Zwiebel" * 4000, "larger than 1024 bytes"),
        (b"hunter2\n\n", "a secret is one line without control characters or spaces around it"),
        (b"hunter2\r\nAction: Ping\r\n", "a secret is one line without control characters or spaces around it"),
        (b" hunter2\n", "a secret is one line without control characters or spaces around it"),
        (b"hunter2\xff\n", "it is not UTF-8 text"),
    ],
)
def test_a_secret_file_with_anything_else_is_a_mistake_that_does_not_quote_it(secret_file, data, said):
    ami = secret_file(data)
    with pytest.raises(ConfigError) as caught:
        ami.read_secret()
    assert caught.value.mistakes == (f"{ami.secret_file}:1:1: {said}",)


@pytest.mark.parametrize("mode", [0o644, 0o642, 0o601])
def test_a_secret_file_that_others_can_reach_is_a_mistake(secret_file, mode):
    ami = secret_file(SECRET.encode())
    ami.secret_file.chmod(mode)
    with pytest.raises(ConfigError) as caught:
        ami.read_secret()
    said = "every user of this host has access to the secret; run 'chmod o=' on the file"
    assert caught.value.mistakes == (f"{ami.secret_file}:1:1: {said}",)


def test_a_missing_secret_file_names_it_and_the_remedy(tmp_path):
    with pytest.raises(ConfigError) as caught:
        Ami(secret_file=tmp_path / "x").read_secret()
    said = "no such file; put the AMI secret there, alone on one line"
    assert caught.value.mistakes == (f"{tmp_path}/x:1:1: {said}",)


def test_a_secret_file_of_somebody_else_names_who_may_read_it(tmp_path, monkeypatch):
    def refuse(*_args):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "stat", refuse)
    with pytest.raises(ConfigError) as caught:
        Ami(secret_file=tmp_path / "x").read_secret()
    assert caught.value.mistakes == (f"{tmp_path}/x:1:1: cannot be read: Permission denied; run this as root",)


def test_a_folder_or_pipe_in_place_of_the_secret_file_is_a_mistake(tmp_path):
    tmp_path.chmod(0o700)
    with pytest.raises(ConfigError, match="1:1: cannot be read: Is a directory"):
        Ami(secret_file=tmp_path).read_secret()
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(ConfigError, match="1:1: not a regular file"):
        Ami(secret_file=tmp_path / "pipe").read_secret()


def test_no_secret_at_all_is_an_error_when_it_is_needed():
    with pytest.raises(ConfigError) as caught:
        config("ami: {host: '::1'}").ami.read_secret()
    said = "/etc/x/astguard.yaml:1:6: 'ami' has no secret; put it into a file and name that, 'secret_file: ami.secret'"
    assert caught.value.mistakes == (said,)


def test_no_secret_at_all_is_no_error_where_nobody_is_banned():
    assert config("mode: observe").read_secret() is None
    assert config(f"{{mode: observe, ami: {{secret: {SECRET}}}}}").read_secret() == SECRET
    with pytest.raises(ConfigError, match="'ami' has no secret"):
        config("mode: enforce").read_secret()
    with pytest.raises(ConfigError, match="no such file"):
        config("{mode: observe, ami: {secret_file: ami.secret}}").read_secret()


def test_systemd_hands_over_the_secret_as_a_credential(tmp_path, monkeypatch):
    read = config("ami: {secret_file: $CREDENTIALS_DIRECTORY/ami.secret}")
    assert is_credential(read.ami.secret_file)
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    with pytest.raises(ConfigError) as caught:
        read.read_secret()
    said = "systemd hands over none; the unit needs LoadCredential=ami.secret:/path/of/the/file"
    assert caught.value.mistakes == (f"$CREDENTIALS_DIRECTORY/ami.secret:1:1: {said}",)
    (tmp_path / "ami.secret").touch(mode=0o400)
    (tmp_path / "ami.secret").write_text(f"{SECRET}\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert read.read_secret() == SECRET
    assert not is_credential(config("ami: {secret_file: $HOME/ami.secret}").ami.secret_file)
    assert not is_credential(None)


# --- The shipped file ----------------------------------------------------------------------------------------------


def test_the_shipped_file_only_observes_and_shows_every_key_with_its_default():
    said = [line for line in SHIPPED.read_text().splitlines() if line and not line.startswith("#")]
    assert [line.partition("#")[0].strip() for line in said] == ["mode: observe"]
    shipped = load_config(SHIPPED)
    assert shipped == Config(mode=Mode.OBSERVE, ami=Ami(place=shipped.ami.place))

    # A line of prose starts with a capital letter; take the # away from all others.
    settings = re.sub(r"^# (?=[a-z ])(?!astguard:)", "", SHIPPED.read_text(), flags=re.MULTILINE)
    fields = {
        field.name
        for part in (Config, Ami, Logs, Firewall, Statsd, Metrics, Api, Wanted)
        for field in dataclasses.fields(part)
    }
    keys = set(re.findall(r"^ *([a-z_]+):", settings, flags=re.MULTILINE))
    assert keys - {"url_file", "format"} == fields - {"place", "allow_names", "secret", "files"}
    settings = re.sub(r"(?m)^  (tls_ca|secret_file|messages|security|timezone):.*\n", "", settings).replace(
        "/usr/share/astguard", "/x"
    )
    read = parse_config(settings.encode())
    assert [show(entry.source) for entry in read.allow] == ["192.0.2.0/24"]
    assert [entry.name for entry in read.allow_names] == ["sip.provider.example"]
    assert [folder.path for folder in read.rules] == [Path("/x/rules"), Path("/etc/astguard/rules")]
    assert (read.statsd, read.metrics) == (Statsd(), Metrics())
    assert [(one.name, one.priority, one.before_ban, dict(one.options)) for one in read.supplements] == [
        ("webhook", 100, False, {"format": "slack"})
    ]
    wanted = Config(
        mode=Mode.OBSERVE,
        ami=Ami(place=read.ami.place),
        allow=read.allow,
        allow_names=read.allow_names,
        rules=read.rules,
        statsd=Statsd(),
        metrics=Metrics(),
        api=Api(token_file=Path("/etc/astguard/api.token")),
        supplements=read.supplements,
    )
    assert read == wanted


def test_the_default_rule_folders_load():
    assert load_rules(config("").rules[:1]).rules


text_like = st.text(max_size=8) | st.sampled_from(["yes", "5060", "192.0.2.1", "::/0", "a.example", "auto", "~", ""])
section = st.dictionaries(
    st.sampled_from(
        [
            "host",
            "port",
            "tls",
            "tls_ca",
            "username",
            "secret",
            "secret_file",
            "backend",
            "sip_ports",
            "prefix",
            "meter_support",
            "x",
        ]
    ),
    text_like | st.lists(text_like, max_size=3),
    max_size=4,
)
files = st.dictionaries(
    st.sampled_from(["mode", "ami", "firewall", "allow", "rules", "statsd", "state", "control", "x"]),
    text_like | st.lists(text_like, max_size=3) | section,
)


@given(data=st.binary(max_size=60) | files.map(json.dumps).map(str.encode))
def test_any_file_gives_a_configuration_or_mistakes(data):
    try:
        read, mistakes = parse_config(data, Path("f")), []
    except ConfigError as error:
        read, mistakes = None, error.mistakes
    assert read is not None or mistakes
    assert all(line.startswith("f:") for line in mistakes)


@given(
    mode=st.sampled_from(Mode),
    backend=st.sampled_from(Backend),
    ports=st.lists(st.integers(1, 65535), min_size=1, unique=True, max_size=5),
    username=st.from_regex(r"[a-z0-9:#'\" -]{1,20}", fullmatch=True),
    statsd=st.none() | st.builds(Statsd, port=st.integers(1, 65535), meter_support=st.booleans()),
)
def test_a_configuration_written_down_is_read_back_the_same(mode, backend, ports, username, statsd):
    fields = {
        "mode": str(mode),
        "ami": {"username": username},
        "firewall": {"backend": str(backend), "sip_ports": [str(port) for port in ports]},
    }
    if statsd:
        fields["statsd"] = {"port": str(statsd.port), "meter_support": "yes" if statsd.meter_support else "no"}
    read = config(json.dumps(fields))
    assert read == Config(
        mode=mode,
        ami=Ami(username=username, place=read.ami.place),
        firewall=Firewall(backend=backend, sip_ports=tuple(ports)),
        statsd=statsd,
    )
