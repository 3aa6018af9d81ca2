-- Version 1: logs, their entries, jobs, and the keys of messages.

-- One row: what the epochs of logs are made of.
CREATE TABLE house (
    name TEXT NOT NULL,
    forgotten INTEGER NOT NULL
) STRICT;

-- A user's log. Its head, the offset of the last entry there ever was, outlives the
-- entries. oldest_at is not later than the oldest entry, and NULL if there is none, so
-- that entries need no index by age.
CREATE TABLE logs (
    id INTEGER PRIMARY KEY,
    uid TEXT NOT NULL UNIQUE,
    epoch TEXT NOT NULL,
    head INTEGER NOT NULL,
    jobs INTEGER NOT NULL,
    oldest_at INTEGER,
    last_at INTEGER NOT NULL
) STRICT;
CREATE INDEX logs_by_age ON logs (oldest_at) WHERE oldest_at IS NOT NULL;
CREATE INDEX logs_without_entries ON logs (last_at) WHERE oldest_at IS NULL;

CREATE TABLE entries (
    log INTEGER NOT NULL,
    offset INTEGER NOT NULL,
    at INTEGER NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (log, offset)
) STRICT, WITHOUT ROWID;

-- state: 0 pending, 1 streaming, 2 done, 3 error. ending: the outcome or the fault.
CREATE TABLE jobs (
    log INTEGER NOT NULL,
    number INTEGER NOT NULL,
    id TEXT NOT NULL,
    frame TEXT NOT NULL,
    key TEXT,
    state INTEGER NOT NULL,
    submitted_at INTEGER NOT NULL,
    changed_at INTEGER NOT NULL,
    ending TEXT,
    PRIMARY KEY (log, number)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX jobs_by_id ON jobs (log, id);
CREATE UNIQUE INDEX jobs_by_key ON jobs (log, key) WHERE key IS NOT NULL;
CREATE INDEX jobs_under_way ON jobs (log, number) WHERE state < 2;
CREATE INDEX jobs_ended ON jobs (changed_at) WHERE state >= 2;

CREATE TABLE message_keys (
    log INTEGER NOT NULL,
    key TEXT NOT NULL,
    offset INTEGER NOT NULL,
    message TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (log, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX message_keys_by_offset ON message_keys (log, offset);
CREATE INDEX message_keys_by_age ON message_keys (at);
