-- Who an identifier is of is in the index that finds it: one page read for it, not two. `store check` looks for twins.
CREATE INDEX identifiers_resolved ON identifiers (value, kind, number, customer, bucket, stated, moved);
DROP INDEX identifiers_by_value;
