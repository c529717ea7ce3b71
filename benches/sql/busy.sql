-- PostgreSQL only: the last :busy portfolios were opened years ago and have traded very much since the last close: :lines
-- lines each. A snapshot of that close undoes them all.
UPDATE portfolios SET created_at = :now::timestamptz - interval '6 years' WHERE id > :portfolios + :readers;
UPDATE transactions SET timestamp = :now::timestamptz - interval '6 years' WHERE portfolio_id > :portfolios + :readers;
INSERT INTO transactions (portfolio_id, stock_id, order_id, transaction_type, quantity, price, commission, amount,
        timestamp, quote_source, quoted_at, fill_rule, quoted_price)
    SELECT p, s.id, '00000000-0000-7000-9000-' || lpad(to_hex(p * 10000 + k), 12, '0'), 'buy', 1, 100.00, 0.00, -100.00, :now,
        'simulated/sim-v1', :now, 'ask', 100.00
    FROM generate_series(1, :lines) k
        CROSS JOIN generate_series(:portfolios + :readers + 1, :portfolios + :readers + :busy) p
        JOIN (SELECT row_number() OVER (ORDER BY id) - 1 AS place, id FROM stocks) s
            ON s.place = (p + 17 * (k % :held)) % :stocks
    ORDER BY k, p;
