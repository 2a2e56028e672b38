"""The package as a file: built in a clean root, the same byte for byte, clean to lintian, with what it should hold."""

from __future__ import annotations

import io
import itertools
import re
import subprocess
import tarfile
import tomllib

import pytest

from tests.deb.conftest import timed
from tests.deb.image import CONTROL, TREE

SERVICE = TREE / "packaging/debian/astguard.service"
EXPOSURE = 1.5


def listing(deb):
    said = subprocess.run(["dpkg-deb", "--contents", deb], capture_output=True, text=True, check=True).stdout
    return {line.split()[-1].removeprefix("."): line.split()[:2] for line in said.splitlines()}


def test_it_is_the_same_whoever_builds_it_where_and_when(deb, build_root, tmp_path):
    """Another umask, time zone, locale and time of the files, and a working copy made anew."""
    command = f"umask 077 && exec {TREE}/packaging/build-deb --in {build_root} {tmp_path}"
    other = {"TZ": "Pacific/Kiritimati", "LC_ALL": "C", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEB_BUILD_OPTIONS": "nocheck"}  # fmt: skip
    for page in ("README.md", "guard/__init__.py"):
        (TREE / page).touch()
    with timed("build it again under other conditions"):
        done = subprocess.run(["bash", "-c", command], env=other, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (again,) = tmp_path.glob("*.deb")
    assert again.read_bytes() == deb.read_bytes()


def test_lintian_has_nothing_to_say(deb, build_root):
    (build_root / "tmp/check").mkdir(exist_ok=True)
    for file in deb.parent.iterdir():
        (build_root / "tmp/check" / file.name).write_bytes(file.read_bytes())
    with timed("lintian"):
        asked = [
            "chroot",
            build_root,
            "lintian",
            "-EviI",
            "--pedantic",
            "--allow-root",
            f"/tmp/check/{deb.stem}.changes",
        ]
        done = subprocess.run(asked, capture_output=True, text=True, check=False)
    found = [line for line in done.stdout.splitlines() if re.match(r"[EWIPX]: ", line)]
    assert (done.returncode, found) == (0, []), done.stdout + done.stderr


def test_every_override_has_its_reason():
    for file in (TREE / "packaging/debian").glob("*.lintian-overrides"):
        lines = file.read_text().splitlines()
        assert all(before.startswith("#") for before, line in itertools.pairwise(lines) if line[0] != "#")


def test_it_has_its_code_for_itself_and_all_that_belongs_to_it(deb):
    files = listing(deb)
    assert not [path for path in files if "dist-packages" in path or path.endswith(".pyc")]
    assert {
        "/usr/bin/astguard", "/usr/share/astguard/guard/__main__.py", "/usr/share/astguard/rules/pjsip-guessing.yaml",
        "/usr/share/astguard/astguard.yaml", "/usr/share/astguard/systemd/iptables.conf",
        "/usr/share/astguard/systemd/realtime.conf",
        "/usr/share/man/man1/astguard.1.gz", "/usr/share/man/man5/astguard.yaml.5.gz",
        "/usr/share/man/man5/astguard-rules.5.gz", "/usr/share/bash-completion/completions/astguard",
        "/usr/share/zsh/vendor-completions/_astguard", "/usr/share/fish/vendor_completions.d/astguard.fish",
        "/etc/logcheck/ignore.d.server/astguard", "/etc/astguard/rules/",
    } <= set(files)  # fmt: skip
    shipped = {path.name for path in (TREE / "rules").glob("*.yaml")}
    assert {path.rpartition("/")[2] for path in files if path.startswith("/usr/share/astguard/rules/")} - {
        ""
    } == shipped
    assert all(owner == "root/root" and mode[8] != "w" for mode, owner in files.values())


def test_the_launcher_is_packed_as_it_was_written(deb):
    """dh_python3 has once taken its -IB away, and with it the isolation, and left bytecode behind after a purge."""
    packed = subprocess.run(["dpkg-deb", "--fsys-tarfile", deb], capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as tree:
        assert tree.extractfile("./usr/bin/astguard").read() == (TREE / "packaging/debian/launcher").read_bytes()


def test_nothing_of_it_may_be_edited_and_then_asked_about(deb, tmp_path):
    """An edited conffile stops an unattended upgrade, or keeps its old text for ever. The list of logcheck is none's."""
    subprocess.run(["dpkg-deb", "--control", deb, tmp_path / "control"], check=True)
    assert (tmp_path / "control/conffiles").read_text().split() == ["/etc/logcheck/ignore.d.server/astguard"]


def test_it_depends_on_what_the_code_needs_in_the_versions_that_debian_has():
    project = tomllib.loads((TREE / "pyproject.toml").read_text())["project"]
    needed = dict(re.fullmatch(r"([\w-]+)>=([\d.]+)", need).groups() for need in project["dependencies"])
    debian = {"pyyaml": "python3-yaml"}
    control = CONTROL.read_text().partition("\nPackage:")[2]
    for name, version in needed.items():
        assert f" {debian.get(name, f'python3-{name}')} (>= {version})," in control, name
    assert f" python3 ({project['requires-python'].replace('>=', '>= ')})," in control


@pytest.mark.parametrize("drop_in", [None, "iptables.conf", "realtime.conf"])
def test_the_unit_leaves_little_open(drop_in, tmp_path):
    """`systemd-analyze security` looks at the file alone, as continuous integration can."""
    unit = tmp_path / "astguard.service"
    text = SERVICE.read_text()
    if drop_in:
        text += (TREE / "packaging/systemd" / drop_in).read_text().partition("[Service]")[2].join(["\n[Service]", ""])
    unit.write_text(text)
    asked = ["systemd-analyze", "security", "--offline=true", "--no-pager", unit]
    said = subprocess.run(asked, capture_output=True, text=True, check=False).stdout
    level = float(re.search(r"Overall exposure level for astguard.service: ([\d.]+)", said)[1])
    print(f"  exposure{f' with {drop_in}' if drop_in else ''}: {level}")
    assert level <= (EXPOSURE if drop_in is None else 1.8), said


def test_the_unit_has_no_line_that_systemd_does_not_know():
    said = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", SERVICE], capture_output=True, text=True, check=False
    )
    ours = [line for line in said.stderr.splitlines() if "astguard.service" in line and "not executable" not in line]
    assert ours == []
