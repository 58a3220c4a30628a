"""The soak (F21): a hub and its hosts under a load that does not change, for hours, while what they hold is measured.

Owns nothing of its own; `python -m tests.faults.soak --help` says how it is run and judged.
"""
