"""Fuzzing: any bytes at every door where bytes of somebody else come in."""
