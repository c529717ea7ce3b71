-- Evidence that a stock is not listed any more, one row for each day on which it was seen; and what administrators decided.
CREATE TABLE delisting_evidence (
    stock_id BIGINT NOT NULL REFERENCES stocks (id) ON DELETE CASCADE,
    kind TEXT NOT NULL CHECK (kind IN ('not_listed', 'listed_as_delisted', 'not_found')),
    -- The day of the table of listings or of the session, in New York.
    seen_on DATE NOT NULL,
    seen_at TEXT NOT NULL,
    source TEXT NOT NULL,
    -- Of 'listed_as_delisted': the day that the table tells.
    delisted_on DATE,
    PRIMARY KEY (stock_id, kind, seen_on),
    CHECK ((kind = 'listed_as_delisted') = (delisted_on IS NOT NULL))
);

-- Evidence that an administrator refused: none counts until the stock has a price or is listed again.
CREATE TABLE delisting_refusals (
    stock_id BIGINT PRIMARY KEY NOT NULL REFERENCES stocks (id) ON DELETE CASCADE,
    refused_at TEXT NOT NULL,
    administrator TEXT NOT NULL,
    reason TEXT NOT NULL
);

-- The name of the administrator who decided on an action.
ALTER TABLE corporate_actions ADD COLUMN administrator TEXT;
