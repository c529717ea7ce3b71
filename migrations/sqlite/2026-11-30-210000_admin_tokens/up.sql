-- Tokens with the scope admin, for the addresses for administrators. SQLite cannot change a check, so the table is
-- created again.
CREATE TABLE api_tokens_new (
    id TEXT PRIMARY KEY NOT NULL,
    user_id BIGINT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    token_hash TEXT NOT NULL UNIQUE,
    scope TEXT NOT NULL CHECK (scope IN ('trade', 'read', 'admin')),
    created_at TEXT NOT NULL,
    expires_at TEXT
);
INSERT INTO api_tokens_new (id, user_id, name, token_hash, scope, created_at, expires_at)
    SELECT id, user_id, name, token_hash, scope, created_at, expires_at FROM api_tokens;
DROP TABLE api_tokens;
ALTER TABLE api_tokens_new RENAME TO api_tokens;
CREATE INDEX api_tokens_user ON api_tokens (user_id);
