-- Facts that belong to no customer (an incident opened or fixed); each has its position in the change log too.
CREATE TABLE workspace_facts (position INTEGER PRIMARY KEY, id BLOB NOT NULL, body BLOB NOT NULL) STRICT;
CREATE UNIQUE INDEX workspace_facts_by_id ON workspace_facts (id);
