-- PostgreSQL only: balanced books that `stockyard verify` accepts. :portfolios portfolios have a deposit and :fills filled
-- orders each, five minutes apart and some days old, in five stocks. Stocks are chosen as in books.sql.
UPDATE corporate_actions SET applied_at = known_at;

INSERT INTO users (id, username, email, password_hash, first_name, last_name, date_joined, is_active, is_admin,
        password_changed_at)
    SELECT n, 'bench' || n, 'bench' || n || '@example.org', 'no password', '', '', :now, TRUE, FALSE, :now
    FROM generate_series(1, :users) n;

INSERT INTO portfolios (id, user_id, name, description, cash_balance, created_at, updated_at)
    SELECT n, n % :users + 1, 'Bench', '', 1000000000.00 - 100 * :fills, :now::timestamptz - interval '30 days',
        :now::timestamptz - interval '30 days' + :fills * interval '5 minutes'
    FROM generate_series(1, :portfolios) n;

INSERT INTO transactions (portfolio_id, transaction_type, commission, amount, timestamp)
    SELECT n, 'deposit', 0.00, 1000000000.00, :now::timestamptz - interval '30 days' FROM generate_series(1, :portfolios) n;

CREATE TEMPORARY TABLE filled AS
    SELECT p AS portfolio_id, s.id AS stock_id, '00000000-0000-7000-8000-' || lpad(to_hex(p * 1000 + k), 12, '0') AS order_id,
        :now::timestamptz - interval '30 days' + k * interval '5 minutes' AS at
    FROM generate_series(1, :fills) k
        CROSS JOIN generate_series(1, :portfolios) p
        JOIN (SELECT row_number() OVER (ORDER BY id) - 1 AS place, id FROM stocks) s ON s.place = (p + 17 * (k % 5)) % :stocks;

INSERT INTO orders (id, portfolio_id, stock_id, request, side, order_type, time_in_force, quantity, status, filled_quantity,
        filled_price, submitted_at, filled_at, order_class, filled_amount, last_matched_at)
    SELECT order_id, portfolio_id, stock_id, 'seeded', 'buy', 'market', 'day', 1, 'filled', 1, 100.00, at, at, 'simple', 100.00, at
    FROM filled ORDER BY at, portfolio_id;

INSERT INTO transactions (portfolio_id, stock_id, order_id, transaction_type, quantity, price, commission, amount,
        timestamp, quote_source, quoted_at, fill_rule, quoted_price)
    SELECT portfolio_id, stock_id, order_id, 'buy', 1, 100.00, 0.00, -100.00, at, 'simulated/sim-v1', at, 'ask', 100.00
    FROM filled ORDER BY at, portfolio_id;

INSERT INTO positions (portfolio_id, stock_id, quantity, cost_basis, realized_pnl)
    SELECT portfolio_id, stock_id, count(*), 100.00 * count(*), 0.00
    FROM filled GROUP BY portfolio_id, stock_id ORDER BY portfolio_id, stock_id;

DROP TABLE filled;
