DROP TRIGGER portfolios_renumbered ON portfolios;
DROP TRIGGER portfolios_deleted ON portfolios;
DROP TRIGGER portfolio_snapshots_moved ON portfolio_snapshots;
DROP TRIGGER portfolio_snapshots_inserted ON portfolio_snapshots;
DROP TRIGGER portfolio_snapshots_locked ON portfolio_snapshots;
DROP FUNCTION refuse_portfolio_renumbering;
DROP FUNCTION delete_snapshots_of_portfolio;
DROP FUNCTION refuse_snapshot_move;
DROP FUNCTION check_snapshot_portfolios;
DROP FUNCTION share_snapshot_lock;
ALTER TABLE portfolio_snapshots ADD CONSTRAINT portfolio_snapshots_portfolio_id_fkey
    FOREIGN KEY (portfolio_id) REFERENCES portfolios (id) ON DELETE CASCADE;
