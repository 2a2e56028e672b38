"""Supplements: what others add to astguard without touching it. docs/supplements.md is their contract."""
