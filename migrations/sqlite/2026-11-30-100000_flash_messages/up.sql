-- Content for the page to which the answer to a form redirects: a message, or a refused form. It is encrypted with a key
-- that is derived from the id; the table contains only a hash of the id.
CREATE TABLE flash_messages (
    id_hash TEXT PRIMARY KEY NOT NULL,
    owner TEXT NOT NULL,
    content TEXT NOT NULL,
    expires_at TEXT NOT NULL
);
CREATE INDEX flash_messages_expiry ON flash_messages (expires_at);
