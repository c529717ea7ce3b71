-- Places one order in a transaction of seven round trips, like an application that reads, decides and writes. The portfolio
-- is chosen at random from :first to :last.
\set portfolio random(:first, :last)
\set stock (:portfolio + 17 * random(0, 4)) % :stocks
\set quantity random(1, 10)
\set price random(10, 500)
\set amount :quantity * :price
begin;
select cash_balance from portfolio where id = :portfolio for update;
select quantity, average_buy_price from position where portfolio_id = :portfolio and stock_id = :stock for update;
insert into tx (portfolio_id, stock_id, transaction_type, quantity, price, amount) values (:portfolio, :stock, 'buy', :quantity, :price, :amount) returning id;
insert into position (portfolio_id, stock_id, quantity, average_buy_price) values (:portfolio, :stock, :quantity, :price) on conflict (portfolio_id, stock_id) do update set quantity = position.quantity + excluded.quantity, average_buy_price = excluded.average_buy_price;
update portfolio set cash_balance = cash_balance - :amount where id = :portfolio;
commit;
