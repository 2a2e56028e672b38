"""astguard: bans the addresses that attack an Asterisk PBX."""

__version__ = "0.1.0"
