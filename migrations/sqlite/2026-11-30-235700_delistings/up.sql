-- Evidence that a stock is no longer listed, one row per stock, kind and day; and decisions of administrators.
CREATE TABLE delisting_evidence (
    stock_id BIGINT NOT NULL REFERENCES stocks (id) ON DELETE CASCADE,
    kind TEXT NOT NULL CHECK (kind IN ('not_listed', 'listed_as_delisted', 'not_found')),
    -- The day of the table of listings or of the session, in New York.
    seen_on DATE NOT NULL,
    seen_at TEXT NOT NULL,
    source TEXT NOT NULL,
    -- For 'listed_as_delisted': the day in the table.
    delisted_on DATE,
    PRIMARY KEY (stock_id, kind, seen_on),
    CHECK ((kind = 'listed_as_delisted') = (delisted_on IS NOT NULL))
);

-- Stocks whose delisting an administrator has refused: evidence does not count until the stock has a price or is listed
-- again.
CREATE TABLE delisting_refusals (
    stock_id BIGINT PRIMARY KEY NOT NULL REFERENCES stocks (id) ON DELETE CASCADE,
    refused_at TEXT NOT NULL,
    administrator TEXT NOT NULL,
    reason TEXT NOT NULL
);

-- The name of the administrator who has decided on an action.
ALTER TABLE corporate_actions ADD COLUMN administrator TEXT;
