"""The lab, up once for all tests of this folder."""

from __future__ import annotations

import os
import shutil

import pytest

from tests.asterisk.image import asterisk_root, asterisk_version
from tests.asterisk.lab import laboratory


@pytest.fixture(scope="session")
def lab(tmp_path_factory, request):
    """Give the lab; where none can be made that is a failure with its reason, without root a skip."""
    missing = [tool for tool in ("ip", "nft", "setpriv", "debootstrap") if shutil.which(tool) is None]
    if os.geteuid() != 0 or missing:
        pytest.skip("the lab needs root" + "".join(f", {tool}" for tool in missing))
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print(asterisk_version(asterisk_root()), flush=True)
    with laboratory(tmp_path_factory.mktemp("lab")) as lab:
        yield lab
