-- A client that reconnects to a stream gets the orders that have ended since then.
CREATE INDEX orders_ended ON orders (portfolio_id, canceled_at) WHERE canceled_at IS NOT NULL;
