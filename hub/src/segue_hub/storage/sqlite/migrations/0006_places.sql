-- Where the facts of each leaf stand, apart from the facts: newest first in a small table, moved into the large one a
-- bucket at a time. An index over all facts costs a page of the file for every fact.
CREATE TABLE places (
  bucket INTEGER NOT NULL,
  leaf INTEGER NOT NULL,
  position INTEGER NOT NULL,
  PRIMARY KEY (bucket, leaf, position)
) STRICT, WITHOUT ROWID;
CREATE TABLE fresh_places (
  bucket INTEGER NOT NULL,
  leaf INTEGER NOT NULL,
  position INTEGER NOT NULL,
  PRIMARY KEY (bucket, leaf, position)
) STRICT, WITHOUT ROWID;
INSERT INTO places (bucket, leaf, position) SELECT bucket, leaf, position FROM facts ORDER BY bucket, leaf, position;
DROP INDEX facts_by_leaf;
