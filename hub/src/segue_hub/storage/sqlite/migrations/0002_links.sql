-- Who is one, and why: links as facts first made them, what was said about them, identifiers that began anew.
-- Everything here follows from the log; it is kept so that a fact need not read it.
ALTER TABLE identifiers ADD COLUMN stated INTEGER NOT NULL DEFAULT 0;
ALTER TABLE identifiers ADD COLUMN moved INTEGER NOT NULL DEFAULT 0;
CREATE TABLE eras (
  number INTEGER PRIMARY KEY,
  leaf INTEGER NOT NULL,
  since INTEGER NOT NULL,
  until INTEGER NOT NULL,
  customer INTEGER NOT NULL,
  moved INTEGER NOT NULL
) STRICT;
CREATE INDEX eras_by_leaf ON eras (leaf, since);
CREATE INDEX eras_by_customer ON eras (customer);
CREATE TABLE links (
  strong INTEGER NOT NULL,
  weak INTEGER NOT NULL,
  at INTEGER NOT NULL,
  id BLOB NOT NULL,
  position INTEGER NOT NULL,
  verdict TEXT NOT NULL,
  PRIMARY KEY (strong, weak, at, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX links_by_weak ON links (weak);
CREATE INDEX links_refused ON links (verdict) WHERE verdict <> '';
CREATE TABLE statements (
  id BLOB PRIMARY KEY,
  kind TEXT NOT NULL,
  strong INTEGER NOT NULL,
  weak INTEGER NOT NULL,
  at INTEGER NOT NULL,
  target BLOB NOT NULL,
  position INTEGER NOT NULL
) STRICT;
CREATE INDEX statements_by_strong ON statements (strong);
CREATE INDEX statements_by_weak ON statements (weak);
