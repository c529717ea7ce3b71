-- What a form's answer leaves for the page that the browser is redirected to: a message, or the form that was refused.
-- The content is encrypted with a key that is made from the id; only the id's hash is here.
CREATE TABLE flash_messages (
    id_hash TEXT PRIMARY KEY NOT NULL,
    owner TEXT NOT NULL,
    content TEXT NOT NULL,
    expires_at TEXT NOT NULL
);
CREATE INDEX flash_messages_expiry ON flash_messages (expires_at);
