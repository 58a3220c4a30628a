-- Which facts a leaf has, apart from the facts: the newest in a small table, moved into the large one a bucket at a
-- time. An index over all facts costs a page of the file for every fact.
CREATE TABLE leaf_index (
  bucket INTEGER NOT NULL,
  leaf INTEGER NOT NULL,
  position INTEGER NOT NULL,
  PRIMARY KEY (bucket, leaf, position)
) STRICT, WITHOUT ROWID;
CREATE TABLE fresh_leaf_index (
  bucket INTEGER NOT NULL,
  leaf INTEGER NOT NULL,
  position INTEGER NOT NULL,
  PRIMARY KEY (bucket, leaf, position)
) STRICT, WITHOUT ROWID;
INSERT INTO leaf_index (bucket, leaf, position) SELECT bucket, leaf, position FROM facts ORDER BY bucket, leaf, position;
DROP INDEX facts_by_leaf;
