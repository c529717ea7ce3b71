-- Who comes back to a stream asks for the orders that have ended since.
CREATE INDEX orders_ended ON orders (portfolio_id, canceled_at) WHERE canceled_at IS NOT NULL;
