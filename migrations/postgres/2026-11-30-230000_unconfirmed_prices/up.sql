-- Prices that differ too much from the last accepted one and must be confirmed before they are used. One row per symbol,
-- which is deleted when a price of the symbol is accepted.
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
