UPDATE price_bars SET source = 'yahoo' WHERE source = 'yahoo/adjusted';

CREATE TABLE new_unconfirmed_prices (
    symbol TEXT PRIMARY KEY NOT NULL,
    source TEXT NOT NULL,
    price TEXT NOT NULL,
    as_of TEXT NOT NULL,
    freshness TEXT NOT NULL,
    doubt TEXT NOT NULL CHECK (doubt IN ('unit_slip', 'large_move', 'split_not_booked')),
    accepted_price TEXT NOT NULL,
    first_seen_at TEXT NOT NULL,
    last_seen_at TEXT NOT NULL
);
INSERT INTO new_unconfirmed_prices SELECT * FROM unconfirmed_prices WHERE doubt <> 'possible_split';
DROP TABLE unconfirmed_prices;
ALTER TABLE new_unconfirmed_prices RENAME TO unconfirmed_prices;
