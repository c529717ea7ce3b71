-- Tokens with the scope admin, for the addresses for administrators.
ALTER TABLE api_tokens DROP CONSTRAINT api_tokens_scope_check;
ALTER TABLE api_tokens ADD CONSTRAINT api_tokens_scope_check CHECK (scope IN ('trade', 'read', 'admin'));
