DROP TABLE job_runs, watchlist_items, watchlists, portfolio_snapshots, transactions, orders, positions, portfolios,
    price_bars, stocks, login_attempts, api_tokens, sessions, users, installation;
DROP FUNCTION refuse_journal_update;
