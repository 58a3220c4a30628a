"""The tables of an outbox's file.

Owns their form alone; every statement on them is `journal`'s.
"""

from __future__ import annotations

from typing import Final

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS facts (
  number INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, lane INTEGER NOT NULL, size INTEGER NOT NULL,
  at REAL NOT NULL, delivered REAL, body BLOB NOT NULL, producer INTEGER NOT NULL, ordinal INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS waiting ON facts (lane, number) WHERE delivered IS NULL;
CREATE INDEX IF NOT EXISTS ages ON facts (at) WHERE delivered IS NULL;
CREATE INDEX IF NOT EXISTS kept ON facts (delivered, size) WHERE delivered IS NOT NULL;
CREATE TABLE IF NOT EXISTS dead (
  id BLOB PRIMARY KEY, code TEXT NOT NULL, reason TEXT NOT NULL, body BLOB NOT NULL, at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS producers (
  number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, handed_out INTEGER NOT NULL, reserved INTEGER NOT NULL,
  ended INTEGER NOT NULL, told REAL);
CREATE TABLE IF NOT EXISTS lost (
  number INTEGER PRIMARY KEY, producer INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
  reason TEXT NOT NULL, told REAL, UNIQUE (producer, first));
CREATE INDEX IF NOT EXISTS untold ON lost (number) WHERE told IS NULL;
"""
