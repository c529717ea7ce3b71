-- Keys of requests that are carried out only once. The row is written in the transaction of the request.
CREATE TABLE idempotency_keys (
    user_id BIGINT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    key TEXT NOT NULL,
    -- The request as one canonical line; a different request with the same key is refused.
    request TEXT NOT NULL,
    -- The id of the row that the request has created.
    result_id BIGINT NOT NULL,
    created_at TEXT NOT NULL,
    PRIMARY KEY (user_id, key)
);
CREATE INDEX idempotency_keys_created ON idempotency_keys (created_at);
