-- What all processes must know about a provider of real prices: how many calls were made, when the next one may be made,
-- which process fetches which symbol, and the answers; and the table of listings for searches.

-- Calls counted per minute, per day (New York) and purpose, and per day and user. The key contains the period.
CREATE TABLE provider_budget (
    key TEXT PRIMARY KEY NOT NULL,
    used BIGINT NOT NULL CHECK (used >= 0),
    ends_at TIMESTAMPTZ NOT NULL
);

-- next_call_at is the earliest time of the next call, even while calls are paused; parked_until and the last failure are shown
-- to administrators.
CREATE TABLE providers (
    name TEXT PRIMARY KEY NOT NULL,
    next_call_at TIMESTAMPTZ NOT NULL,
    parked_until TIMESTAMPTZ,
    last_answered_at TIMESTAMPTZ,
    last_failed_at TIMESTAMPTZ,
    last_error TEXT
);

-- The process that fetches a symbol; the others wait for the answer.
CREATE TABLE provider_leases (
    name TEXT PRIMARY KEY NOT NULL,
    holder TEXT NOT NULL,
    ends_at TIMESTAMPTZ NOT NULL
);

-- The newest quote that any process has fetched, so that neither other processes nor a restart fetch it again.
CREATE TABLE provider_quotes (
    symbol TEXT PRIMARY KEY NOT NULL,
    source TEXT NOT NULL,
    price NUMERIC NOT NULL,
    previous_close NUMERIC,
    bid NUMERIC,
    ask NUMERIC,
    volume BIGINT,
    as_of TIMESTAMPTZ NOT NULL,
    freshness TEXT NOT NULL,
    fetched_at TIMESTAMPTZ NOT NULL
);

-- Stocks and funds as a provider lists them. Stocks that are missing in the newest table stay, as delisted. search_words
-- is the name in lower case, with one space before each word.
CREATE TABLE listings (
    symbol TEXT PRIMARY KEY NOT NULL,
    company_name TEXT NOT NULL,
    search_words TEXT NOT NULL,
    exchange TEXT NOT NULL,
    asset_type TEXT NOT NULL CHECK (asset_type IN ('stock', 'fund')),
    status TEXT NOT NULL CHECK (status IN ('active', 'delisted')),
    source TEXT NOT NULL,
    refreshed_at TIMESTAMPTZ NOT NULL
);
