-- PostgreSQL only: the journal of the portfolios that are only read. Each has :journal filled orders, five minutes apart.
-- The newest is some days old, because a valuation treats the trades of the current day differently.

CREATE TEMPORARY TABLE filled AS
    SELECT p AS portfolio_id, s.id AS stock_id,
        '00000000-0000-7000-8000-' || lpad(to_hex(p * 10000 + k), 12, '0') AS order_id,
        :now::timestamptz - interval '30 days' + k * interval '5 minutes' AS at
    FROM generate_series(0, :journal - 1) k
        CROSS JOIN generate_series(:portfolios + 1, :portfolios + :readers) p
        JOIN (SELECT row_number() OVER (ORDER BY id) - 1 AS place, id FROM stocks) s
            ON s.place = (p + 17 * (k % :held)) % :stocks;

INSERT INTO orders (id, portfolio_id, stock_id, request, side, order_type, time_in_force, quantity, status,
        filled_quantity, filled_price, submitted_at, filled_at, order_class, filled_amount, last_matched_at)
    SELECT order_id, portfolio_id, stock_id, 'seeded', 'buy', 'market', 'day', 1, 'filled', 1, 100.00, at, at, 'simple',
        100.00, at
    FROM filled ORDER BY at, portfolio_id;

INSERT INTO transactions (portfolio_id, stock_id, order_id, transaction_type, quantity, price, commission, amount,
        timestamp, quote_source, quoted_at, fill_rule, quoted_price)
    SELECT portfolio_id, stock_id, order_id, 'buy', 1, 100.00, 0.00, -100.00, at, 'simulated/sim-v1', at, 'ask', 100.00
    FROM filled ORDER BY at, portfolio_id;

UPDATE portfolios SET updated_at = newest.at
    FROM (SELECT portfolio_id, max(at) AS at FROM filled GROUP BY portfolio_id) newest
    WHERE portfolios.id = newest.portfolio_id;

DROP TABLE filled;

-- The first :histories of them have existed for six years, and have a snapshot for each of the last :days days.
UPDATE transactions SET timestamp = :now::timestamptz - interval '6 years'
    WHERE portfolio_id BETWEEN :portfolios + 1 AND :portfolios + :histories AND transaction_type = 'deposit';
UPDATE portfolios SET created_at = :now::timestamptz - interval '6 years'
    WHERE id BETWEEN :portfolios + 1 AND :portfolios + :histories;
INSERT INTO portfolio_snapshots (portfolio_id, date, total_value, cash_balance, positions_value, net_flow, provisional)
    SELECT p, (:now::timestamptz AT TIME ZONE 'America/New_York')::date - day, 1000000000.00 + value, 1000000000.00, value, 0.00,
        FALSE
    FROM generate_series(:portfolios + 1, :portfolios + :histories) p
        CROSS JOIN generate_series(1, :days) day
        CROSS JOIN LATERAL (SELECT round((400000000 + 50000000 * sin(day / 50.0) + 3000000 * sin(day * p))::numeric, 2) AS value) v
    ORDER BY p, day DESC;
