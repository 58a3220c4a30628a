-- name: find
SELECT id, position, body FROM facts WHERE id IN (?)
-- name: position_of
SELECT position FROM facts WHERE id = ?
-- name: resolve
SELECT number, customer, bucket FROM identifiers WHERE value = ? AND kind = ?
-- name: resolve_some
SELECT kind, value, number, customer, bucket FROM identifiers WHERE value IN (?)
-- name: members
SELECT kind, value, number, customer, bucket FROM identifiers WHERE customer = ? ORDER BY number
-- name: add_identifier
INSERT INTO identifiers (number, kind, value, customer, bucket) VALUES (?, ?, ?, ?, ?)
-- name: assign
UPDATE identifiers SET customer = ? WHERE number = ?
-- name: customer_of
SELECT customer FROM identifiers WHERE number = ?
-- name: void
DELETE FROM contexts WHERE customer = ?
-- name: append
INSERT INTO facts (position, id, leaf, bucket, occurred_at, seq, received_at, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
-- name: append_change
INSERT INTO changes (position, kind, detail) VALUES (?, ?, ?)
-- name: checkpoint
INSERT INTO contexts (customer, position, plan, data) VALUES (?, ?, ?, ?)
  ON CONFLICT (customer) DO UPDATE SET position = excluded.position, plan = excluded.plan, data = excluded.data
-- name: add_plan
INSERT INTO plans (number, digest, position, pushed_at, author, note, document, files) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
-- name: add_key
INSERT INTO keys (touchpoint, hash, created_at) VALUES (?, ?, ?)
-- name: keep_newest_keys
DELETE FROM keys WHERE touchpoint = ?1 AND number NOT IN (
  SELECT number FROM keys WHERE touchpoint = ?1 ORDER BY number DESC LIMIT ?2)
-- name: revoke
DELETE FROM keys WHERE touchpoint = ?
-- name: head
SELECT max(coalesce((SELECT max(position) FROM facts), 0), coalesce((SELECT max(position) FROM changes), 0)),
  coalesce((SELECT max(number) FROM identifiers), 0)
-- name: facts
SELECT position, body FROM facts WHERE bucket = ? AND leaf = ? AND position > ?
-- name: read_checkpoint
SELECT position, plan, data FROM contexts WHERE customer = ?
-- name: customers
SELECT DISTINCT customer FROM identifiers WHERE customer > ? ORDER BY customer LIMIT ?
-- name: log
SELECT position, body FROM facts WHERE position > ?1 AND position <= ?2
  UNION ALL SELECT position, NULL FROM changes WHERE position > ?1 AND position <= ?2 ORDER BY 1
-- name: plans
SELECT number, digest, position, pushed_at, author, note, document, files FROM plans ORDER BY number
-- name: keys
SELECT touchpoint, hash, created_at FROM keys ORDER BY number
-- name: counts
SELECT (SELECT count(*) FROM facts), (SELECT count(*) FROM identifiers),
  (SELECT count(DISTINCT customer) FROM identifiers), (SELECT count(*) FROM contexts)
-- name: positions
SELECT count(*), count(DISTINCT position), coalesce(min(position), 0), coalesce(max(position), 0)
  FROM (SELECT position FROM facts UNION ALL SELECT position FROM changes)
-- name: strays
SELECT count(*) FROM facts WHERE leaf NOT IN (SELECT number FROM identifiers)
-- name: lost_customers
SELECT count(*) FROM identifiers WHERE customer NOT IN (SELECT number FROM identifiers)
