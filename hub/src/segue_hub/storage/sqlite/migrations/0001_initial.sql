-- The first schema. Facts belong to leaves; a customer is the identifiers that name it.
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE identifiers (
  number INTEGER PRIMARY KEY,
  kind TEXT NOT NULL,
  value TEXT NOT NULL,
  customer INTEGER NOT NULL,
  bucket INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX identifiers_by_value ON identifiers (value, kind);
CREATE INDEX identifiers_by_customer ON identifiers (customer);
CREATE TABLE facts (
  position INTEGER PRIMARY KEY,
  id BLOB NOT NULL,
  leaf INTEGER NOT NULL,
  bucket INTEGER NOT NULL,
  occurred_at INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  received_at INTEGER NOT NULL,
  body BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX facts_by_id ON facts (id);
CREATE INDEX facts_by_leaf ON facts (bucket, leaf, occurred_at, seq);
CREATE TABLE changes (position INTEGER PRIMARY KEY, kind TEXT NOT NULL, detail TEXT NOT NULL) STRICT;
CREATE TABLE contexts (
  customer INTEGER PRIMARY KEY,
  position INTEGER NOT NULL,
  plan TEXT NOT NULL,
  data BLOB NOT NULL
) STRICT;
CREATE TABLE plans (
  number INTEGER PRIMARY KEY,
  digest TEXT NOT NULL,
  position INTEGER NOT NULL,
  pushed_at INTEGER NOT NULL,
  author TEXT NOT NULL,
  note TEXT NOT NULL,
  document BLOB NOT NULL,
  files BLOB NOT NULL
) STRICT;
CREATE TABLE keys (
  number INTEGER PRIMARY KEY,
  touchpoint TEXT NOT NULL,
  hash BLOB NOT NULL,
  created_at INTEGER NOT NULL
) STRICT;
