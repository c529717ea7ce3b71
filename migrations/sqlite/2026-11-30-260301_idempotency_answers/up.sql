-- The response to the request, if it cannot be read from a row of another table.
ALTER TABLE idempotency_keys ADD COLUMN answer TEXT;
