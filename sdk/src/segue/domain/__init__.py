"""The laws of Segue: facts, fold, derivation, decision.

Owns every rule that hub and SDK share. Pure: it knows no protobuf, no gRPC, no database, no clock, no chance
and no I/O. The moment asked about (`at`) and every id are arguments.
"""
