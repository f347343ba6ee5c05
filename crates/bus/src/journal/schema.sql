CREATE TABLE IF NOT EXISTS exchange (
    name TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    alternate TEXT
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS queue (
    name TEXT PRIMARY KEY,
    max_length INTEGER NOT NULL,
    drop_head INTEGER NOT NULL,
    delivery_limit INTEGER NOT NULL,
    dead_letters INTEGER NOT NULL,
    single_active INTEGER NOT NULL,
    -- Kept by the triggers below: counting a long queue for each publish would be slow.
    depth INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS binding (
    exchange TEXT NOT NULL,
    key TEXT NOT NULL,
    queue TEXT NOT NULL,
    PRIMARY KEY (exchange, key, queue)
) STRICT, WITHOUT ROWID;

-- A message per queue. Its number is its place in the queue.
CREATE TABLE IF NOT EXISTS message (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    queue TEXT NOT NULL,
    id TEXT NOT NULL,
    exchange TEXT NOT NULL,
    routing_key TEXT NOT NULL,
    headers TEXT NOT NULL,
    body BLOB NOT NULL,
    -- Attempts before the current one that ended with a retry.
    retries INTEGER NOT NULL DEFAULT 0,
    -- Deliveries since then.
    deliveries INTEGER NOT NULL DEFAULT 0,
    -- 1 while a consumer has it.
    held INTEGER NOT NULL DEFAULT 0,
    -- Not before this moment, milliseconds since 1970.
    due_ms INTEGER NOT NULL DEFAULT 0,
    -- Of a dead letter: why, where from, since when.
    reason TEXT,
    origin TEXT,
    dead_ms INTEGER
) STRICT;

CREATE INDEX IF NOT EXISTS message_ready ON message (queue, held, number, due_ms);

CREATE TRIGGER IF NOT EXISTS message_in AFTER INSERT ON message BEGIN
    UPDATE queue SET depth = depth + 1 WHERE name = NEW.queue;
END;

CREATE TRIGGER IF NOT EXISTS message_out AFTER DELETE ON message BEGIN
    UPDATE queue SET depth = depth - 1 WHERE name = OLD.queue;
END;

CREATE TRIGGER IF NOT EXISTS message_moved AFTER UPDATE OF queue ON message BEGIN
    UPDATE queue SET depth = depth - 1 WHERE name = OLD.queue;
    UPDATE queue SET depth = depth + 1 WHERE name = NEW.queue;
END;

PRAGMA user_version = 1;
