-- Initial books of a benchmark, for PostgreSQL and SQLite. The tables and the stocks exist already. :portfolios portfolios
-- trade, each with five positions. :readers more, only on PostgreSQL, are read (readers.sql fills their journal), and :busy
-- more have traded since the last close (busy.sql). Columns that are not named here have their defaults. :now is the current time, as a literal for both databases.
--
-- `stockyard verify` does not accept these books, because the positions have no journal entries.

-- Marks recent dividends as applied, so that no worker books them during a measurement.
UPDATE corporate_actions SET applied_at = known_at;

BEGIN;

CREATE TEMPORARY TABLE numbers AS
    WITH RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n < :portfolios + :readers + :busy)
    SELECT n FROM numbers;
CREATE TEMPORARY TABLE held AS SELECT n AS k FROM numbers WHERE n < :held;

-- In a new database the ids have the order in which the catalog was imported, by symbol.
CREATE TEMPORARY TABLE listed AS
    SELECT row_number() OVER (ORDER BY id) - 1 AS place, id FROM stocks;

INSERT INTO users (id, username, email, password_hash, first_name, last_name, date_joined, is_active, is_admin,
        password_changed_at)
    SELECT n, 'bench' || n, 'bench' || n || '@example.org', 'no password', '', '', :now, TRUE, FALSE, :now
    FROM numbers WHERE n BETWEEN 1 AND :users;

INSERT INTO portfolios (id, user_id, name, description, cash_balance, created_at, updated_at)
    SELECT n, n % :users + 1, 'Bench', '', '1000000000.00', :now, :now
    FROM numbers WHERE n > 0;

-- The k-th stock that portfolio p holds is (p + 17 k) modulo the number of stocks.
INSERT INTO positions (portfolio_id, stock_id, quantity, cost_basis, realized_pnl)
    SELECT p.n, listed.id, '100000', '10000000.00', '0.00'
    FROM numbers p
        JOIN held ON held.k < 5 OR p.n > :portfolios
        JOIN listed ON listed.place = (p.n + 17 * held.k) % :stocks
    WHERE p.n > 0
    ORDER BY p.n, held.k;

INSERT INTO transactions (portfolio_id, transaction_type, commission, amount, timestamp)
    SELECT n, 'deposit', '0.00', '1000000000.00', :now
    FROM numbers WHERE n > 0;

DROP TABLE numbers;
DROP TABLE held;
DROP TABLE listed;

COMMIT;
