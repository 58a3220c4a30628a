"""Docs are tested: every block is run as a reader would run it."""
