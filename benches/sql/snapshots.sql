-- Writes one row for each portfolio: its cash and the value of its positions.
INSERT INTO daily (portfolio_id, date, total_value, net_flow)
    SELECT portfolio.id, current_date, portfolio.cash_balance + COALESCE(sum(round(position.quantity * stock.price, 2)), 0), 0.00
    FROM portfolio
        LEFT JOIN position ON position.portfolio_id = portfolio.id
        LEFT JOIN stock ON stock.id = position.stock_id
    GROUP BY portfolio.id;
