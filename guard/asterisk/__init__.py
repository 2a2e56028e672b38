"""Asterisk's own configuration files: read as Asterisk reads them, and what they mean for whoever guards it."""
