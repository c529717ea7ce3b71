-- Reads the 50 newest transactions of one portfolio, with the index.
\set portfolio random(:first, :last)
select id, stock_id, transaction_type, quantity, price, amount, timestamp from tx where portfolio_id = :portfolio order by id desc limit 50;
