DROP TABLE import_files;
DROP TABLE imported_rows;
ALTER TABLE portfolios DROP COLUMN kind;
