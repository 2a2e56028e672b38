"""One lab for each version of Asterisk, up once for all tests of this folder.

22 runs every test that is not `long`; 16 in the short form those marked `both`, in the full form all. ASTGUARD_ASTERISK
names the versions if not both, so that script/test can run them side by side.
"""

from __future__ import annotations

import os

import pytest

from tests.asterisk.coverage import Witness
from tests.asterisk.image import SUITES, asterisk_root, asterisk_version
from tests.asterisk.lab import laboratory
from tests.conftest import FULL
from tests.netns import reason_not_to_run

VERSIONS = os.environ.get("ASTGUARD_ASTERISK", ",".join(SUITES)).split(",")


def pytest_configure(config):
    """Name the markers of this folder."""
    config.addinivalue_line("markers", "both: runs against Asterisk 16 in the short form too")
    config.addinivalue_line("markers", "only(version): runs against this version of Asterisk alone")


def pytest_collection_modifyitems(config, items):
    """Leave out what this form, or this run, does not want."""
    left_out = [item for item in items if not _wanted(item)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def _wanted(item) -> bool:
    """Tell whether a test runs against the version it was made for."""
    version = getattr(item, "callspec", None) and item.callspec.params.get("labs")
    if version is None:
        return True
    only = item.get_closest_marker("only")
    short = version == "22" or item.get_closest_marker("both") or only
    return version in VERSIONS and (FULL or bool(short)) and (only is None or version in only.args)


@pytest.fixture(scope="session", params=SUITES)
def labs(tmp_path_factory, request):
    """Give the lab and its witness; where none can be made that is a failure, without root a skip, each with its reason."""
    reason = reason_not_to_run("nft", "setpriv", "debootstrap")
    if reason:
        pytest.skip(reason)
    version, folder = request.param, tmp_path_factory.mktemp("lab")
    say = request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled
    with say():
        print(asterisk_version(asterisk_root(version)), flush=True)
    with laboratory(folder, version) as lab, Witness(lab.pbx, folder / "witness.ami") as witness:
        yield lab, witness
        with say():
            print(f"\n{witness.report(version)}", flush=True)


@pytest.fixture
def lab(labs):
    """Give the lab."""
    return labs[0]


@pytest.fixture
def witness(labs):
    """Give the one who hears all that Asterisk says."""
    return labs[1]
