"""Histories (F9): real clients do what chance says while faults strike, and all that each was told is held against the
log that the hub has in the end.
"""
