-- Whether a portfolio is for practice, or records trades made elsewhere and takes imports.
ALTER TABLE portfolios ADD COLUMN kind TEXT NOT NULL DEFAULT 'practice' CHECK (kind IN ('practice', 'record'));

-- Rows of files that were imported, so that none is booked twice.
CREATE TABLE imported_rows (
    portfolio_id BIGINT NOT NULL REFERENCES portfolios (id) ON DELETE CASCADE,
    -- The content of the row, and which of several equal rows of its file it is.
    row_hash TEXT NOT NULL,
    file_hash TEXT NOT NULL,
    -- Line of the file, from 1.
    line BIGINT NOT NULL,
    imported_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (portfolio_id, row_hash)
);

-- A file that was uploaded and waits to be imported. A portfolio has one.
CREATE TABLE import_files (
    portfolio_id BIGINT NOT NULL PRIMARY KEY REFERENCES portfolios (id) ON DELETE CASCADE,
    file_hash TEXT NOT NULL,
    content TEXT NOT NULL,
    uploaded_at TIMESTAMPTZ NOT NULL
);
