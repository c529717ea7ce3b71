//! Measures the check of many portfolios; run by hand.

use std::time::Instant;

use crate::harness::Exchange;

const FILL: &str = "
INSERT INTO users (username, email, password_hash, first_name, last_name, date_joined, is_active, is_admin, password_changed_at)
 VALUES ('bench', 'b@example.org', '', '', '', now(), true, false, now());
INSERT INTO portfolios (user_id, name, description, cash_balance, created_at, updated_at)
 SELECT (SELECT id FROM users WHERE username = 'bench'), 'P', '', 890.00, '2026-11-20T10:00:00Z', '2026-11-20T12:00:00Z' FROM generate_series(1, 20000);
CREATE TEMP TABLE s AS SELECT row_number() OVER (ORDER BY id) - 1 AS n, id FROM stocks ORDER BY id LIMIT 5;
INSERT INTO orders (id, portfolio_id, stock_id, request, side, order_type, time_in_force, quantity, status, filled_quantity, filled_price, filled_amount, submitted_at, filled_at, order_class, last_matched_at)
 SELECT lpad(to_hex(p.id), 8, '0') || '-0000-7000-8000-' || lpad(to_hex(j), 12, '0'), p.id, s.id, 'r', CASE WHEN (j / 5) % 5 IN (2, 4) THEN 'sell' ELSE 'buy' END, 'market', 'day', 1, 'filled', 1, 10.00, 10.00,
 '2026-11-20T11:00:00Z'::timestamptz + j * interval '1 second', '2026-11-20T11:00:00Z'::timestamptz + j * interval '1 second', 'simple', '2026-11-20T11:00:00Z'
 FROM portfolios p, generate_series(0, 48) j, s WHERE s.n = j % 5;
INSERT INTO transactions (portfolio_id, transaction_type, commission, amount, timestamp) SELECT id, 'deposit', 0, 1000.00, '2026-11-20T10:00:00Z' FROM portfolios;
INSERT INTO transactions (portfolio_id, stock_id, order_id, transaction_type, quantity, price, commission, amount, realized_pnl, timestamp, quote_source, quoted_at, fill_rule, quoted_price)
 SELECT portfolio_id, stock_id, id, side, 1, 10.00, 0, CASE side WHEN 'buy' THEN -10.00 ELSE 10.00 END, CASE side WHEN 'buy' THEN NULL ELSE 0 END, filled_at, 'fixed', filled_at, 'last', 10.00 FROM orders ORDER BY filled_at, portfolio_id;
INSERT INTO positions (portfolio_id, stock_id, quantity, cost_basis, realized_pnl) SELECT p.id, s.id, CASE s.n WHEN 4 THEN 3 ELSE 2 END, CASE s.n WHEN 4 THEN 30 ELSE 20 END, 0 FROM portfolios p, s;
INSERT INTO price_bars (stock_id, date, open, high, low, close, volume, source) SELECT s.id, d, 10, 10, 10, 10.00, 1, 'x' FROM s, unnest(ARRAY['2026-11-20', '2026-11-21', '2026-11-22']::date[]) d;
INSERT INTO portfolio_snapshots (portfolio_id, date, total_value, cash_balance, positions_value, net_flow, provisional)
 SELECT p.id, d, 1000, 890, 110, CASE d WHEN '2026-11-20' THEN 1000 ELSE 0 END, false FROM portfolios p, unnest(ARRAY['2026-11-20', '2026-11-21', '2026-11-22']::date[]) d;
ANALYZE;
";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures"]
async fn speed() {
    let exchange = Exchange::new().await;
    exchange.database().sql(FILL).unwrap();
    for _ in 0..4 {
        let begun = Instant::now();
        let report = exchange.verify(|_, _| ()).await.unwrap();
        let took = begun.elapsed().as_secs_f64();
        assert_eq!(report.differences.len(), 0, "{:?}", &report.differences[..2]);
        let rss = std::fs::read_to_string("/proc/self/status").unwrap();
        let peak = rss.lines().find(|line| line.starts_with("VmHWM")).unwrap().to_owned();
        println!(
            "{} portfolios, {} entries, {} orders, {} snapshots in {took:.1} s: {:.0} portfolios/s, {:.0} rows/s, {peak}",
            report.portfolios,
            report.entries,
            report.orders,
            report.snapshots,
            report.portfolios as f64 / took,
            (report.entries + report.orders + report.snapshots) as f64 / took
        );
    }
}
