-- Books of producers' ordinals: which arrived, which are missing, which are lost.
CREATE TABLE books (
  touchpoint TEXT NOT NULL,
  producer TEXT NOT NULL,
  data BLOB NOT NULL,
  PRIMARY KEY (touchpoint, producer)
) STRICT, WITHOUT ROWID;
