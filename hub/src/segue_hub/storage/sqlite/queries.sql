-- name: find
SELECT id, position, body FROM facts WHERE id IN (?)
-- name: position_of
SELECT position FROM facts WHERE id = ?
-- name: resolve
SELECT number, customer, bucket, stated, moved FROM identifiers WHERE value = ? AND kind = ?
-- name: resolve_some
SELECT kind, value, number, customer, bucket, stated, moved FROM identifiers WHERE value IN (?)
-- name: members
SELECT kind, value, number, customer, bucket, stated, moved FROM identifiers WHERE customer = ? AND stated < 2
  ORDER BY number
-- name: member_eras
SELECT i.kind, i.value, e.leaf, e.customer, i.bucket, 2, e.moved, e.since, e.until, e.number
  FROM eras e JOIN identifiers i ON i.number = e.leaf WHERE e.customer = ? ORDER BY e.number
-- name: eras
SELECT e.leaf, e.customer, i.bucket, 2, e.moved, e.since, e.until, e.number
  FROM eras e JOIN identifiers i ON i.number = e.leaf WHERE e.leaf = ? ORDER BY e.since
-- name: names
SELECT number, kind, value FROM identifiers WHERE number IN (?)
-- name: links
SELECT strong, weak, at, id, position, verdict FROM links WHERE strong = ?1 AND at <= ?3 AND position <= ?4
  UNION ALL SELECT strong, weak, at, id, position, verdict FROM links
  WHERE weak = ?1 AND at <= ?3 AND position <= ?4 LIMIT ?2
-- name: held
SELECT strong, weak, at, id, position, verdict FROM links WHERE strong IN (?) AND verdict = ''
-- name: statements
SELECT kind, strong, weak, at, id, target, position FROM statements WHERE strong = ?1
  UNION ALL SELECT kind, strong, weak, at, id, target, position FROM statements WHERE weak = ?1
-- name: verdicts
SELECT verdict, count(*) FROM links WHERE verdict <> '' GROUP BY verdict
-- name: add_link
INSERT OR IGNORE INTO links (strong, weak, at, id, position, verdict) VALUES (?, ?, ?, ?, ?, ?)
-- name: judge
UPDATE links SET verdict = ? WHERE strong = ? AND weak = ? AND at = ? AND id = ?
-- name: add_statement
INSERT INTO statements (kind, strong, weak, at, id, target, position) VALUES (?, ?, ?, ?, ?, ?, ?)
-- name: state
UPDATE identifiers SET stated = 1 WHERE number = ? AND stated = 0
-- name: drop_eras
DELETE FROM eras WHERE leaf = ?
-- name: add_era
INSERT INTO eras (number, leaf, since, until, customer, moved) VALUES (?, ?, ?, ?, ?, ?)
-- name: cut
UPDATE identifiers SET stated = ?, customer = ?, moved = ? WHERE number = ?
-- name: add_identifier
INSERT INTO identifiers (number, kind, value, customer, bucket) VALUES (?, ?, ?, ?, ?)
-- name: assign
UPDATE identifiers SET customer = ?, moved = ? WHERE number = ?
-- name: void
DELETE FROM contexts WHERE customer = ?
-- name: append
INSERT INTO facts (position, id, leaf, bucket, occurred_at, seq, received_at, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
-- name: append_change
INSERT INTO changes (position, kind, detail) VALUES (?, ?, ?)
-- name: add_workspace_fact
INSERT INTO workspace_facts (position, id, body) VALUES (?, ?, ?)
-- name: workspace_facts
SELECT position, body FROM workspace_facts ORDER BY position
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
-- name: keep_book
INSERT INTO books (touchpoint, producer, data) VALUES (?, ?, ?)
  ON CONFLICT (touchpoint, producer) DO UPDATE SET data = excluded.data
-- name: drop_book
DELETE FROM books WHERE touchpoint = ? AND producer = ?
-- name: books
SELECT touchpoint, producer, data FROM books ORDER BY touchpoint, producer
-- name: head
SELECT max(coalesce((SELECT max(position) FROM facts), 0), coalesce((SELECT max(position) FROM changes), 0)),
  max(coalesce((SELECT max(number) FROM identifiers), 0), coalesce((SELECT max(number) FROM eras), 0))
-- name: next_received
SELECT position, received_at FROM facts WHERE position > ? ORDER BY position LIMIT 1
-- name: next_pushed
SELECT min(position) FROM plans WHERE pushed_at > ?
-- name: index_leaves
INSERT INTO newest_leaf_index (bucket, leaf, position)
  SELECT bucket, leaf, position FROM facts WHERE position >= ? AND position <= ? ORDER BY bucket, leaf, position
-- name: freshen_leaves
INSERT INTO fresh_leaf_index (bucket, leaf, position)
  SELECT bucket, leaf, position FROM newest_leaf_index ORDER BY bucket, leaf, position
-- name: drop_freshened_leaves
DELETE FROM newest_leaf_index
-- name: settle_leaves
INSERT INTO leaf_index (bucket, leaf, position)
  SELECT bucket, leaf, position FROM fresh_leaf_index WHERE bucket = ? ORDER BY leaf, position
-- name: drop_settled_leaves
DELETE FROM fresh_leaf_index WHERE bucket = ?
-- name: facts
SELECT f.occurred_at, f.seq, f.id, f.position, f.body FROM leaf_index i CROSS JOIN facts f ON f.position = i.position
  WHERE i.bucket = ?1 AND i.leaf = ?2 AND i.position > ?3
UNION ALL SELECT f.occurred_at, f.seq, f.id, f.position, f.body FROM fresh_leaf_index i CROSS JOIN facts f ON f.position = i.position
  WHERE i.bucket = ?1 AND i.leaf = ?2 AND i.position > ?3
UNION ALL SELECT f.occurred_at, f.seq, f.id, f.position, f.body FROM newest_leaf_index i CROSS JOIN facts f ON f.position = i.position
  WHERE i.bucket = ?1 AND i.leaf = ?2 AND i.position > ?3
-- name: facts_between
SELECT f.occurred_at, f.seq, f.id, f.position, f.body FROM leaf_index i CROSS JOIN facts f ON f.position = i.position
  WHERE i.bucket = ?1 AND i.leaf = ?2 AND i.position > ?3 AND f.occurred_at >= ?4 AND f.occurred_at < ?5
UNION ALL SELECT f.occurred_at, f.seq, f.id, f.position, f.body FROM fresh_leaf_index i CROSS JOIN facts f ON f.position = i.position
  WHERE i.bucket = ?1 AND i.leaf = ?2 AND i.position > ?3 AND f.occurred_at >= ?4 AND f.occurred_at < ?5
UNION ALL SELECT f.occurred_at, f.seq, f.id, f.position, f.body FROM newest_leaf_index i CROSS JOIN facts f ON f.position = i.position
  WHERE i.bucket = ?1 AND i.leaf = ?2 AND i.position > ?3 AND f.occurred_at >= ?4 AND f.occurred_at < ?5
-- name: read_checkpoint
SELECT position, plan, data FROM contexts WHERE customer = ?
-- name: newest
SELECT max(max(coalesce((SELECT max(x.position) FROM leaf_index x WHERE x.bucket = i.bucket AND x.leaf = i.number), 0),
    coalesce((SELECT max(x.position) FROM fresh_leaf_index x WHERE x.bucket = i.bucket AND x.leaf = i.number), 0),
    coalesce((SELECT max(x.position) FROM newest_leaf_index x WHERE x.bucket = i.bucket AND x.leaf = i.number), 0))),
  max(i.moved), max(i.stated) < 2 AND NOT EXISTS (SELECT 1 FROM eras WHERE customer = ?1)
  FROM identifiers i WHERE i.customer = ?1
-- name: held_by
SELECT number, bucket, stated, moved FROM identifiers WHERE customer = ?
-- name: came_after
SELECT EXISTS (SELECT 1 FROM leaf_index WHERE bucket = ?1 AND leaf = ?2 AND position > ?3)
  OR EXISTS (SELECT 1 FROM fresh_leaf_index WHERE bucket = ?1 AND leaf = ?2 AND position > ?3)
  OR EXISTS (SELECT 1 FROM newest_leaf_index WHERE bucket = ?1 AND leaf = ?2 AND position > ?3)
-- name: has_eras
SELECT EXISTS (SELECT 1 FROM eras WHERE customer = ?)
-- name: customers
SELECT DISTINCT customer FROM identifiers WHERE customer > ? ORDER BY customer LIMIT ?
-- name: customers_of_eras
SELECT DISTINCT customer FROM eras WHERE customer > ? ORDER BY customer LIMIT ?
-- name: log
SELECT position, body FROM facts WHERE position > ?1 AND position <= ?2
  UNION ALL SELECT c.position, w.body FROM changes c LEFT JOIN workspace_facts w ON w.position = c.position
  WHERE c.position > ?1 AND c.position <= ?2 ORDER BY 1
-- name: holding
SELECT DISTINCT leaf FROM facts WHERE position > ? AND position <= ? AND occurred_at >= ? AND occurred_at < ?
  AND instr(body, ?) > 0 ORDER BY leaf
-- name: plans
SELECT number, digest, position, pushed_at, author, note FROM plans ORDER BY number
-- name: plan
SELECT number, digest, position, pushed_at, author, note, document, files FROM plans WHERE number = ?
-- name: keys
SELECT touchpoint, hash, created_at FROM keys ORDER BY number
-- name: counts
SELECT (SELECT count(*) FROM facts), (SELECT count(*) FROM identifiers),
  (SELECT count(*) FROM (SELECT customer FROM identifiers UNION SELECT customer FROM eras)),
  (SELECT count(*) FROM contexts), (SELECT count(DISTINCT strong) FROM links)
-- name: positions
SELECT count(*), count(DISTINCT position), coalesce(min(position), 0), coalesce(max(position), 0)
  FROM (SELECT position FROM facts UNION ALL SELECT position FROM changes)
-- name: strays
SELECT count(*) FROM facts WHERE leaf NOT IN (SELECT number FROM identifiers)
-- name: unindexed
SELECT max(abs((SELECT count(*) FROM leaf_index) + (SELECT count(*) FROM fresh_leaf_index)
    + (SELECT count(*) FROM newest_leaf_index) - (SELECT count(*) FROM facts)),
  (SELECT count(*) FROM facts f WHERE NOT EXISTS (
      SELECT 1 FROM leaf_index i WHERE i.bucket = f.bucket AND i.leaf = f.leaf AND i.position = f.position)
    AND NOT EXISTS (
      SELECT 1 FROM fresh_leaf_index i WHERE i.bucket = f.bucket AND i.leaf = f.leaf AND i.position = f.position)
    AND NOT EXISTS (
      SELECT 1 FROM newest_leaf_index i WHERE i.bucket = f.bucket AND i.leaf = f.leaf AND i.position = f.position)))
-- name: lone_workspace_facts
SELECT count(*) FROM workspace_facts WHERE position NOT IN (SELECT position FROM changes)
-- name: twins
SELECT count(*) FROM (SELECT 1 FROM identifiers GROUP BY value, kind HAVING count(*) > 1)
-- name: lost_customers
SELECT count(*) FROM identifiers WHERE customer NOT IN (SELECT number FROM identifiers UNION SELECT number FROM eras)
-- name: linked
SELECT DISTINCT strong FROM links WHERE strong > ? ORDER BY strong LIMIT ?
-- name: outdated
SELECT count(*) FROM contexts WHERE substr(plan, 1, length(?1)) <> ?1
-- name: checkpointed
SELECT customer, plan FROM contexts WHERE customer > ? ORDER BY customer LIMIT ?
-- name: noted
SELECT value FROM meta WHERE name = ?
-- name: note
INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value
-- name: kept_audiences
SELECT number, name, basis FROM kept_audiences ORDER BY number
-- name: keep_audience
INSERT INTO kept_audiences (number, name, basis) VALUES (?, ?, ?)
  ON CONFLICT (number) DO UPDATE SET name = excluded.name, basis = excluded.basis
-- name: drop_audience
DELETE FROM kept_audiences WHERE number = ?
-- name: drop_audience_members
DELETE FROM members WHERE audience = ?
-- name: cursors
SELECT number, touchpoint, name, audience, next, heard_at FROM cursors ORDER BY number
-- name: keep_cursor
INSERT INTO cursors (number, touchpoint, name, audience, next, heard_at) VALUES (?, ?, ?, ?, ?, ?)
-- name: welcome
INSERT INTO tellings (cursor, number, customer, gone, at, reason)
  SELECT ?1, ?2 - 1 + row_number() OVER (ORDER BY since, customer), customer, 0, since, '' FROM members WHERE audience = ?3
-- name: drop_cursor
DELETE FROM cursors WHERE number = ?
-- name: drop_tellings
DELETE FROM tellings WHERE cursor = ?
-- name: tellings
SELECT number, customer, gone, at, reason FROM tellings WHERE cursor = ? AND number > ? ORDER BY number LIMIT ?
-- name: waiting
SELECT count(*) FROM tellings WHERE cursor = ? AND number > ?
-- name: tell
INSERT INTO tellings (cursor, number, customer, gone, at, reason) VALUES (?, ?, ?, ?, ?, ?)
-- name: move_cursor
UPDATE cursors SET next = ? WHERE number = ?
-- name: told
DELETE FROM tellings WHERE cursor = ? AND number <= ?
-- name: heard
UPDATE cursors SET heard_at = ? WHERE number = ?
-- name: conflate
DELETE FROM tellings WHERE cursor = ?1 AND number > ?2 AND number NOT IN (
  SELECT max(number) FROM tellings WHERE cursor = ?1 AND number > ?2 GROUP BY customer HAVING count(*) % 2 = 1)
-- name: set_member
INSERT INTO members (customer, audience, since) VALUES (?, ?, ?)
  ON CONFLICT (customer, audience) DO UPDATE SET since = excluded.since
-- name: drop_member
DELETE FROM members WHERE customer = ? AND audience = ?
-- name: memberships
SELECT audience, since FROM members WHERE customer = ?
-- name: members_of
SELECT customer FROM members WHERE audience = ? AND customer > ? ORDER BY customer LIMIT ?
-- name: wake
INSERT INTO wake_ups (customer, at) VALUES (?, ?) ON CONFLICT (customer) DO UPDATE SET at = excluded.at
-- name: rouse
INSERT INTO wake_ups (customer, at) VALUES (?, ?) ON CONFLICT (customer) DO UPDATE SET at = min(at, excluded.at)
-- name: drop_some_wake_ups
DELETE FROM wake_ups WHERE customer IN (?)
-- name: drop_wake_ups
DELETE FROM wake_ups
-- name: wake_up_of
SELECT at FROM wake_ups WHERE customer = ?
-- name: wake_ups
SELECT at, customer FROM wake_ups WHERE (at, customer) > (?, ?) ORDER BY at, customer LIMIT ?
-- name: ledger_strays
SELECT (SELECT count(*) FROM tellings WHERE cursor NOT IN (SELECT number FROM cursors)),
  (SELECT count(*) FROM members WHERE audience NOT IN (SELECT number FROM kept_audiences)),
  (SELECT count(*) FROM cursors WHERE audience NOT IN (SELECT number FROM kept_audiences))
-- name: ledger_counts
SELECT (SELECT count(*) FROM members), (SELECT count(*) FROM tellings), (SELECT count(*) FROM wake_ups)
