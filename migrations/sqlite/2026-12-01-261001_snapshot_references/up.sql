-- Only PostgreSQL's foreign key is replaced: SQLite checks one within the same process, at little cost.
SELECT 1;
