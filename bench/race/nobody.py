"""No guard at all, to see what the attack does by itself."""

from __future__ import annotations


class Nobody:
    """Does nothing."""

    name = "no guard"

    def __init__(self, pbx, root):
        del pbx, root

    def start(self):
        """Start nothing."""

    def stop(self):
        """Stop nothing."""

    def pids(self):
        """Give no process."""
        return []

    @staticmethod
    def deciding(_messages, _events):
        """Decide nothing."""
