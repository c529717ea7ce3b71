-- Earlier versions stored Yahoo's bars in the shares of the day on which they were fetched. These bars get another source,
-- are not used, and are replaced when they are fetched again.
UPDATE price_bars SET source = 'yahoo/adjusted' WHERE source = 'yahoo';

-- A price may be in other shares than the accepted one. SQLite cannot change a check, so the table is created again.
CREATE TABLE new_unconfirmed_prices (
    symbol TEXT PRIMARY KEY NOT NULL,
    source TEXT NOT NULL,
    price TEXT NOT NULL,
    as_of TEXT NOT NULL,
    freshness TEXT NOT NULL,
    doubt TEXT NOT NULL CHECK (doubt IN ('unit_slip', 'large_move', 'split_not_booked', 'possible_split')),
    accepted_price TEXT NOT NULL,
    first_seen_at TEXT NOT NULL,
    last_seen_at TEXT NOT NULL
);
INSERT INTO new_unconfirmed_prices SELECT * FROM unconfirmed_prices;
DROP TABLE unconfirmed_prices;
ALTER TABLE new_unconfirmed_prices RENAME TO unconfirmed_prices;
