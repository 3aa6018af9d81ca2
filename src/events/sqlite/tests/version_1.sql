-- A database as version 1 wrote it. Not to be changed: what was stored stays readable.
PRAGMA application_id = 1883326828;
PRAGMA user_version = 1;
CREATE TABLE house (
    name TEXT NOT NULL,
    forgotten INTEGER NOT NULL
) STRICT;

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

INSERT INTO house VALUES ('0f1e2d3c-4b5a', 7);
INSERT INTO logs VALUES (3, 'ada', '0f1e2d3c-4b5a-7', 12, 1, 1763769600000, 1763769600000);
INSERT INTO entries VALUES (3, 10, 1763769600000, '{"v":1,"decided":{"session":"s","frame":"f","outcome":{"decision":{"extract":{"title":"Send the Berlin office the signed lease","description":"","priority":"high","tags":["a"],"source_app":"Mail","deadline":"2025-11-25","confidence":"0.9","category":"direct_request","subcategory":"message","score":1}},"context_summary":"An inbox.","current_activity":"Reading","bill":{"model_asked":"m","model_answered":"m","model_calls":2,"prompt":1,"cached":0,"output":2,"thinking":0,"cost_micro_usd":5,"model_time":{"secs":1,"nanos":5},"tool_time":{"secs":0,"nanos":0},"total_time":{"secs":2,"nanos":0}}}}}');
INSERT INTO entries VALUES (3, 11, 1763769600000, '{"v":1,"message":{"id":"m","kind":"k","title":"t","body":"b","data":"","sent_at":"2025-11-22T00:00:00Z"}}');
INSERT INTO entries VALUES (3, 12, 1763769600000, '{"v":1,"job":{"id":"a job","frame":"f","submitted_at":"2025-11-22T00:00:00Z","changed_at":"2025-11-22T00:00:00Z","state":{"error":{"code":"gemini_error","message":"It failed.","retryable":true,"retry_after":{"secs":2,"nanos":0}}}}}');
INSERT INTO jobs VALUES (3, 1, 'a job', 'f', 'k', 3, 1763769600000, 1763769600000, '{"v":1,"error":{"code":"gemini_error","message":"It failed.","retryable":true,"retry_after":{"secs":2,"nanos":0}}}');
INSERT INTO message_keys VALUES (3, 'k', 11, 'm', 1763769600000);
