-- What the request was answered, where no row of another table keeps it.
ALTER TABLE idempotency_keys ADD COLUMN answer TEXT;
