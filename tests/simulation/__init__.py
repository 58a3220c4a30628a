"""Simulation (F10): the real hub and the real SDK on virtual time, disk and network, from a seed.

Everything that a user runs runs here but threads and sockets: one event loop with a virtual clock schedules all, so
that a seed is a history, and the same seed is the same history. `python -m tests.simulation --help`.
"""
