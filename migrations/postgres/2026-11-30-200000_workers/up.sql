-- Running workers. Each one updates its row every few seconds and deletes it when it shuts down, so a row with an old
-- last_seen_at belongs to a worker that died or hangs.
CREATE TABLE workers (
    name TEXT PRIMARY KEY,
    host TEXT NOT NULL,
    process_id BIGINT NOT NULL,
    version TEXT NOT NULL,
    mode TEXT NOT NULL CHECK (mode IN ('embedded', 'redis')),
    started_at TIMESTAMPTZ NOT NULL,
    last_seen_at TIMESTAMPTZ NOT NULL
);
