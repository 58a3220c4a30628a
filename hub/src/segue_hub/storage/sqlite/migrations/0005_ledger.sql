-- The ledger: audiences whose members are kept, since somebody is told of them by a name (a cursor); what each cursor is
-- still to hear; and when a customer's membership is asked again at the latest.
CREATE TABLE kept_audiences (number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, basis TEXT NOT NULL) STRICT;
CREATE TABLE members (
  customer INTEGER NOT NULL,
  audience INTEGER NOT NULL,
  since INTEGER NOT NULL,
  PRIMARY KEY (customer, audience)
) STRICT, WITHOUT ROWID;
CREATE TABLE cursors (
  number INTEGER PRIMARY KEY,
  touchpoint TEXT NOT NULL,
  name TEXT NOT NULL,
  audience INTEGER NOT NULL,
  next INTEGER NOT NULL,
  heard_at INTEGER NOT NULL,
  UNIQUE (touchpoint, name, audience)
) STRICT;
CREATE TABLE tellings (
  cursor INTEGER NOT NULL,
  number INTEGER NOT NULL,
  customer INTEGER NOT NULL,
  gone INTEGER NOT NULL,
  at INTEGER NOT NULL,
  reason TEXT NOT NULL,
  PRIMARY KEY (cursor, number)
) STRICT, WITHOUT ROWID;
CREATE TABLE wake_ups (customer INTEGER PRIMARY KEY, at INTEGER NOT NULL) STRICT;
CREATE INDEX wake_ups_by_instant ON wake_ups (at, customer);
