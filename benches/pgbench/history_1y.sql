-- Reads the last 365 daily rows of one portfolio, with the primary key.
\set portfolio random(:first, :last)
select date, total_value, net_flow from snapshot where portfolio_id = :portfolio and date >= current_date - 365 order by date;
