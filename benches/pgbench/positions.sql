-- Reads what a valuation needs: the positions of one portfolio, with one join.
\set portfolio random(:first, :last)
select s.symbol, s.company_name, p.quantity, p.average_buy_price from position p join stock s on s.id = p.stock_id where p.portfolio_id = :portfolio;
