"""The lab, up once for all tests of this folder."""

from __future__ import annotations

import pytest

from tests.asterisk.image import asterisk_root, asterisk_version
from tests.asterisk.lab import laboratory
from tests.netns import reason_not_to_run


@pytest.fixture(scope="session")
def lab(tmp_path_factory, request):
    """Give the lab; where none can be made that is a failure, without root a skip, each with its reason."""
    reason = reason_not_to_run("nft", "setpriv", "debootstrap")
    if reason:
        pytest.skip(reason)
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print(asterisk_version(asterisk_root()), flush=True)
    with laboratory(tmp_path_factory.mktemp("lab")) as lab:
        yield lab
