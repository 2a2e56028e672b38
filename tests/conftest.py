"""What all groups share: the Hypothesis profiles, the long forms, and that a required group may not skip."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

FULL = bool(os.environ.get("ASTGUARD_FULL"))
REQUIRED = set(filter(None, os.environ.get("ASTGUARD_REQUIRE", "").split(",")))

# A busy machine is no finding: no deadline. The short form is the same every time, the long one explores.
settings.register_profile(
    "ci", max_examples=100, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile(
    "full", max_examples=2000, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("full" if FULL else "ci")


def pytest_configure(config):
    """Name the one marker of the house."""
    config.addinivalue_line("markers", "long: runs with script/test --full alone (ASTGUARD_FULL=1)")


def pytest_collection_modifyitems(config, items):
    """Leave the long tests out of the short form; that is no skip, script/test says so once."""
    left_out = [item for item in items if not FULL and item.get_closest_marker("long")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Turn the skip of a required test into a failure."""
    _refuse_skip((yield).get_result(), item.path)


@pytest.hookimpl(hookwrapper=True)
def pytest_make_collect_report(collector):
    """Turn the skip of a whole required file into a failure."""
    _refuse_skip((yield).get_result(), collector.path)


def _refuse_skip(report, path: Path) -> None:
    """Fail a report that says `skipped` in a group that ASTGUARD_REQUIRE names; an expected failure is no skip."""
    tests = Path(__file__).parent
    if not report.skipped or hasattr(report, "wasxfail") or not path.is_relative_to(tests):
        return
    group = path.relative_to(tests).parts[0]
    if group in REQUIRED:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"the group {group!r} is required and may not skip: {reason}"
