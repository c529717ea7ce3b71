DROP INDEX orders_open;
CREATE INDEX orders_open ON orders (portfolio_id, id) WHERE status IN ('held', 'accepted', 'partially_filled');
DROP INDEX orders_submitted;
CREATE INDEX orders_portfolio ON orders (portfolio_id, id DESC);
