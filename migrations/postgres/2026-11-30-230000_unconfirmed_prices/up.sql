-- Prices that a source tells and that are too far from the last accepted one to be used before they are confirmed. One
-- row for each symbol; it is deleted when a price of the symbol is accepted.
CREATE TABLE unconfirmed_prices (
    symbol TEXT PRIMARY KEY NOT NULL,
    source TEXT NOT NULL,
    price NUMERIC NOT NULL,
    as_of TIMESTAMPTZ NOT NULL,
    freshness TEXT NOT NULL,
    doubt TEXT NOT NULL CHECK (doubt IN ('unit_slip', 'large_move', 'split_not_booked')),
    accepted_price NUMERIC NOT NULL,
    first_seen_at TIMESTAMPTZ NOT NULL,
    last_seen_at TIMESTAMPTZ NOT NULL
);
