-- Requests that a client has named, so that a repeated one is answered and not carried out again. The row is written in the
-- transaction of the request.
CREATE TABLE idempotency_keys (
    user_id BIGINT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    key TEXT NOT NULL,
    -- The request in one canonical line: another request under the same key is refused.
    request TEXT NOT NULL,
    -- The id of the row that the request made.
    result_id BIGINT NOT NULL,
    created_at TEXT NOT NULL,
    PRIMARY KEY (user_id, key)
);
CREATE INDEX idempotency_keys_created ON idempotency_keys (created_at);
