"""The section `supplements`: what is wanted, secrets that are never shown, and every mistake with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from guard.errors import ConfigError
from guard.settings.config import parse_config
from guard.settings.supplements import SUPPLEMENTS_LIMIT
from guard.supplements.catalogue import SITE, find, voters

URL = "https://hooks.example.org/T1/s3cret"


def read(text):
    return parse_config(text.encode(), Path("/etc/x/astguard.yaml")).supplements


def mistakes_of(text):
    with pytest.raises(ConfigError) as caught:
        read(text)
    return [line.removeprefix("/etc/x/astguard.yaml:") for line in caught.value.mistakes]


def test_nothing_given_means_none():
    assert read("") == ()


def test_every_key_is_read():
    webhook, mail, other = read(f"""
supplements:
  - name: webhook
    options: {{url: "{URL}", format: slack, bans: no}}
  - name: mail
    priority: 7
    options: {{to: "root, ops@example.org", from: pbx@example.org, server: 127.0.0.1, port: 2525}}
  - name: other-one
    before_ban: yes
    options: {{colour: green, key_file: some.key}}
""")
    assert (webhook.priority, webhook.before_ban, mail.priority, other.before_ban) == (100, False, 7, True)
    assert webhook.options == {"url": URL, "format": "slack", "bans": "no"}
    assert mail.options == {
        "to": "root, ops@example.org",
        "from": "pbx@example.org",
        "server": "127.0.0.1",
        "port": "2525",
    }
    assert (other.options, other.files) == ({"colour": "green"}, {"key": Path("/etc/x/some.key")})
    assert "s3cret" not in repr(webhook)


def test_one_may_stand_without_a_list():
    (one,) = read("supplements: {name: mail, options: {to: root}}")
    assert one.name == "mail"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("supplements: [{}]", "'name' is missing"),
        ("supplements: [{name: Web Hook}]", "'Web Hook' is not the name of a supplement; it has small letters"),
        ("supplements: [{name: webhook}]", "'webhook' needs the option 'url'"),
        ("supplements: [{name: mail, options: {}}]", "'mail' needs the option 'to'"),
        ("supplements: [{name: mail, options: {to: root, prot: 25}}]", "unknown key 'prot'; did you mean 'port'?"),
        ("supplements: [{name: mail, options: {to: 'a b@c'}}]", "'a b@c' is not a mail address"),
        (r'supplements: [{name: mail, options: {to: "a@b\nBcc: c@d"}}]', "is not a mail address"),
        ("supplements: [{name: mail, options: {to: root}, priority: 1001}]", "'1001' is not a whole number from 0 to 1000"),
        ("supplements: [{name: a, priority: 1}, {name: a}]", "'a' is given twice"),
        ("supplements: [{name: a, options: [1]}]", "expected lines of 'key: value'"),
        ("supplements: [{name: a, options: {'A b': 1}}]", "'A b' is not the name of an option"),
        ("supplements: [{name: a, options: {k: 1, k_file: f}}]", "'k' and 'k_file' are both given; keep the file"),
        ("supplements: [{name: webhook, options: {url: 'https://x/', format: sms}}]", "'sms' is not a format"),
        ("supplements: [{name: webhook, options: {url: 'https://x/', url_file: f}}]", "are both given"),
    ],
)  # fmt: skip
def test_mistakes_are_named(text, said):
    assert any(said in line for line in mistakes_of(text)), mistakes_of(text)


@pytest.mark.parametrize(
    "url",
    ["ftp://x/s3cret", "s3cret", "https:///s3cret", "https://u:s3cret@x/", "https://x:0/s3cret", "https://x:99999/s3cret",
     "https://x/s3cret y", "https://x/s3cret\u00fc", "https://[s3cret"],
)  # fmt: skip
def test_a_wrong_address_of_a_webhook_is_not_quoted(url):
    (line,) = mistakes_of(f"supplements: [{{name: webhook, options: {{url: '{url}'}}}}]")
    assert "expected an address such as https://hooks.example.org/T1/B2" in line
    assert "s3cret" not in line


def test_there_is_a_limit():
    many = ", ".join(f"{{name: s{number}}}" for number in range(SUPPLEMENTS_LIMIT + 1))
    assert mistakes_of(f"supplements: [{many}]") == [f"1:{many.index('s16') + 15}: there are more than 16 supplements"]


def test_a_secret_stands_in_a_file_that_others_may_not_read(tmp_path):
    file = tmp_path / "hook.url"

    def secrets(text):
        file.write_text(text)
        config = f"supplements: [{{name: webhook, options: {{url_file: {file}}}}}]"
        (one,) = parse_config(config.encode(), tmp_path / "astguard.yaml").supplements
        return one.read_secrets()

    def refused(text):
        with pytest.raises(ConfigError) as caught:
            secrets(text)
        assert "s3cret" not in str(caught.value)
        return str(caught.value)

    file.touch(0o600)
    assert secrets(f"{URL}\n").options == {"url": URL}
    assert secrets(URL) != secrets(URL + "2")
    assert "expected an address such as" in refused("s3cret\n")
    assert "1 to 2048 characters" in refused("https://x/" + "s3cret" * 500)
    file.chmod(0o644)
    assert "every user of this host has access to the secret; run 'chmod o=' on the file" in refused(URL)


def test_what_is_not_installed_is_named_with_its_place():
    with pytest.raises(ConfigError) as caught:
        find(read("supplements:\n  - name: webhok\n  - name: strange\n"))
    assert caught.value.mistakes == (
        f"/etc/x/astguard.yaml:3:11: no supplement 'strange' is installed; install it, or put it into {SITE}",
        "/etc/x/astguard.yaml:2:11: no supplement 'webhok' is installed; did you mean 'webhook'?",
    )


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Install supplements of some source code, for this process."""

    def install(name, code, *, package=None):
        folder = tmp_path / f"{package or name}-1.0.dist-info"
        folder.mkdir()
        module = f"supplement_{package or name}"
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package or name}\nVersion: 1.0\n")
        (folder / "entry_points.txt").write_text(f"[astguard.supplements]\n{name} = {module}:make\n")
        (tmp_path / f"{module}.py").write_text(code)

    monkeypatch.syspath_prepend(tmp_path)
    return install


def test_what_is_asked_before_a_ban_is_made_in_the_order_of_priority(installed):
    code = (
        "class make:\n def __init__(self, options): self.options = options\n def before_ban(self, ban): return None\n"
    )
    for name in ("one", "two", "three"):
        installed(name, code)
    found = voters(
        read("""
supplements:
  - {name: two, before_ban: yes, priority: 5, options: {a: b}}
  - {name: one, before_ban: yes}
  - {name: three, before_ban: yes, priority: 5}
""")
    )
    assert [name for name, _ in found] == ["three", "two", "one"]
    options = dict(found)["two"].options
    assert options == {"a": "b"}
    with pytest.raises(TypeError):
        options["a"] = "c"


def test_nothing_is_imported_that_is_not_trusted_with_bans(installed):
    installed("bomb", "raise SystemExit('imported')")
    wanted = read("supplements: {name: bomb}")
    assert [order.name for order in find(wanted)] == ["bomb"]
    assert voters(wanted) == []


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("def make(options): return object()", "has no before_ban; take 'before_ban: yes' away"),
        ("def make(options): raise ValueError('colour is missing')", "cannot be made: ValueError: colour is missing"),
        ("nothing = 1", "cannot be made: AttributeError"),
        ("import astguard_no_such_thing", "cannot be made: ModuleNotFoundError"),
        ("import sys; sys.exit(0)", "cannot be made: SystemExit"),
    ],
)
def test_what_cannot_be_asked_before_a_ban_is_a_mistake_of_the_configuration(installed, code, said):
    installed(f"bad-{len(code)}", code, package=f"bad{len(code)}")
    with pytest.raises(ConfigError) as caught:
        voters(read(f"supplements: {{name: bad-{len(code)}, before_ban: yes}}"))
    assert said in str(caught.value)
    assert str(caught.value).startswith("/etc/x/astguard.yaml:1:21: supplement 'bad-")


def test_two_packages_with_the_same_name_are_a_mistake(installed):
    installed("same", "", package="first")
    installed("same", "", package="second")
    with pytest.raises(ConfigError, match="installed more than once: supplement_first:make, supplement_second:make"):
        find(read("supplements: {name: same}"))


def test_nobody_can_take_the_name_of_one_that_comes_with_astguard(installed):
    installed("webhook", "", package="evil")
    (order,) = find(read(f"supplements: {{name: webhook, options: {{url: '{URL}'}}}}"))
    assert order.target == "guard.supplements.webhook:Webhook"
    assert "s3cret" not in repr(order)
