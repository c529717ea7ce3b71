-- Lists of orders are sorted by the time of submission and filtered by it; the id decides among orders of one instant.
DROP INDEX orders_portfolio;
CREATE INDEX orders_submitted ON orders (portfolio_id, submitted_at, id);
DROP INDEX orders_open;
CREATE INDEX orders_open ON orders (portfolio_id, submitted_at, id)
    WHERE status IN ('held', 'accepted', 'partially_filled');
