"""The hub of Segue: durable fold and fan-out of customer-journey context.

Knows the SDK's `domain`, `wire`, `v1` and `errors`; nothing else of it.
"""

__version__ = "0.1.0"
