"""pip and pipx on the newest Python that Debian has, in a root tree of its own, from wheels that the host fetched."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys

import pytest

from tests.deb.conftest import VERSION, timed
from tests.deb.image import python_image

pytestmark = pytest.mark.long
PIP = "PIP_NO_INDEX=1 PIP_FIND_LINKS=/srv PIPX_HOME=/srv/pipx PIPX_BIN_DIR=/srv/bin PIPX_MAN_DIR=/srv/man"


@pytest.fixture(scope="module")
def newest(released, tmp_path_factory):
    """Give a function that runs a line of shell in the tree, with our wheel and all that it needs in /srv there."""
    root = tmp_path_factory.mktemp("python") / "root"
    root.mkdir()
    with timed("unpack the newest Python"):
        subprocess.run(["tar", "--extract", "--file", python_image(), "--directory", root], check=True)
    wheel = released / f"astguard-{VERSION}-py3-none-any.whl"
    shutil.copy(wheel, root / "srv")

    def sh(line):
        clean = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/root"}
        done = subprocess.run(
            ["unshare", "--net", "chroot", root, "sh", "-ec", line], env=clean, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        return done.stdout

    version = sh("python3 -c 'import sys; print(\"%d.%d\" % sys.version_info[:2])'").strip()
    with timed(f"fetch what it needs on Python {version}"):
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--python-version", version, "--only-binary", ":all:",
             "--dest", root / "srv", wheel, "pip"],
            check=True,
        )  # fmt: skip
    assert tuple(map(int, version.split("."))) >= (3, 14), f"unstable has Python {version}"
    yield sh
    shutil.rmtree(root, ignore_errors=True)


@pytest.mark.parametrize(
    ("how", "program"),
    [
        (f"python3 -m venv /srv/venv; {PIP} /srv/venv/bin/pip install --quiet astguard=={VERSION}", "/srv/venv/bin/astguard"),
        (f"{PIP} pipx install astguard=={VERSION}", "/srv/bin/astguard"),
    ],
    ids=["pip", "pipx"],
)  # fmt: skip
def test_it_installs_and_runs_on_the_newest_python(how, program, newest):
    with timed(f"install with {program.split('/')[2]}"):
        newest(how)
    assert re.search(r"^pjsip-guessing .* ok$", newest(f"{program} rules test"), re.MULTILINE)
    assert "commit " in newest(f"{program} --version --verbose")
    folder = "/srv/try"
    newest(f"mkdir -p {folder}; printf 'mode: observe\\ncontrol: {folder}/run/sock\\nstate: {folder}/state/db\\n' > {folder}/astguard.yaml")  # fmt: skip
    said = newest(f"{program} run --config {folder}/astguard.yaml 2>&1 || echo exit $?")
    assert f"install -d -m 750 {folder}/run" in said
    assert said.splitlines()[-1] == "exit 1"
