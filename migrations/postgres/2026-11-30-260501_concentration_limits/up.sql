-- Shares of a portfolio's value, in percent, above which its composition has a note. A portfolio without a row has the
-- usual limits; NULL is no limit.
CREATE TABLE concentration_limits (
    portfolio_id BIGINT PRIMARY KEY NOT NULL REFERENCES portfolios (id) ON DELETE CASCADE,
    stock_percent INTEGER CHECK (stock_percent BETWEEN 1 AND 100),
    sector_percent INTEGER CHECK (sector_percent BETWEEN 1 AND 100),
    cash_percent INTEGER CHECK (cash_percent BETWEEN 1 AND 100)
);
