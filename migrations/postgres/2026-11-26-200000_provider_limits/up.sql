-- What all processes of a deployment must know of a provider of real prices: how many calls it was sent, when it may be
-- sent the next, who is asking for what, and what was found; and the table of listings that searches run on.

-- Calls counted in a span of time: a minute, a day in New York by pot and by user. The key names it.
CREATE TABLE provider_budget (
    key TEXT PRIMARY KEY NOT NULL,
    used BIGINT NOT NULL CHECK (used >= 0),
    ends_at TIMESTAMPTZ NOT NULL
);

-- next_call_at is the next free place in the queue of calls, also when the provider is to be left alone until then;
-- parked_until and the last failure are for people to see.
CREATE TABLE providers (
    name TEXT PRIMARY KEY NOT NULL,
    next_call_at TIMESTAMPTZ NOT NULL,
    parked_until TIMESTAMPTZ,
    last_answered_at TIMESTAMPTZ,
    last_failed_at TIMESTAMPTZ,
    last_error TEXT
);

-- Who asks for a symbol; the others wait for what is found.
CREATE TABLE provider_leases (
    name TEXT PRIMARY KEY NOT NULL,
    holder TEXT NOT NULL,
    ends_at TIMESTAMPTZ NOT NULL
);

-- The newest quote that some process got, so that no other has to ask, and none after a restart.
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

-- Stocks and funds as a provider lists them. What is gone from its newest table stays, as delisted. search_words is the
-- name in small letters, one blank before each word.
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
