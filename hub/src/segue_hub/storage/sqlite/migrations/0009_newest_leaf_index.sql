-- Entries of the newest facts, before the small table: a commit writes few pages of it, however many leaves its facts have.
CREATE TABLE newest_leaf_index (
  bucket INTEGER NOT NULL,
  leaf INTEGER NOT NULL,
  position INTEGER NOT NULL,
  PRIMARY KEY (bucket, leaf, position)
) STRICT, WITHOUT ROWID;
