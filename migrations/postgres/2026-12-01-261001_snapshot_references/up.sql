-- A foreign key looks up and locks the portfolio of every row, which takes twice as long as writing the row. These triggers
-- keep the same rule: once for all rows of a statement, and with one lock between writers of snapshots, which share it, and
-- transactions that delete portfolios. To avoid deadlocks, both take it before they lock any snapshot.
ALTER TABLE portfolio_snapshots DROP CONSTRAINT portfolio_snapshots_portfolio_id_fkey;

CREATE FUNCTION share_snapshot_lock() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(hashtext('stockyard snapshots'));
    RETURN NULL;
END $$;
CREATE TRIGGER portfolio_snapshots_locked BEFORE INSERT ON portfolio_snapshots
    FOR EACH STATEMENT EXECUTE FUNCTION share_snapshot_lock();

-- Its query sees portfolios that were deleted while the statement waited for the lock, because transactions here are READ
-- COMMITTED.
CREATE FUNCTION check_snapshot_portfolios() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- An array, so that the portfolios are always looked up by their index.
    IF (SELECT count(DISTINCT portfolio_id) FROM written)
        <> (SELECT count(*) FROM portfolios WHERE id = ANY (ARRAY(SELECT portfolio_id FROM written))) THEN
        RAISE foreign_key_violation USING MESSAGE = 'a snapshot refers to a portfolio that does not exist';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER portfolio_snapshots_inserted AFTER INSERT ON portfolio_snapshots
    REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION check_snapshot_portfolios();

CREATE FUNCTION refuse_snapshot_move() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE foreign_key_violation USING MESSAGE = 'a snapshot stays with its portfolio';
END $$;
CREATE TRIGGER portfolio_snapshots_moved BEFORE UPDATE OF portfolio_id ON portfolio_snapshots
    FOR EACH ROW WHEN (OLD.portfolio_id IS DISTINCT FROM NEW.portfolio_id) EXECUTE FUNCTION refuse_snapshot_move();

-- The DELETE sees all rows that were written before the lock was free, for the same reason.
CREATE FUNCTION delete_snapshots_of_portfolio() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('stockyard snapshots'));
    DELETE FROM portfolio_snapshots WHERE portfolio_id = OLD.id;
    RETURN NULL;
END $$;
CREATE TRIGGER portfolios_deleted AFTER DELETE ON portfolios
    FOR EACH ROW EXECUTE FUNCTION delete_snapshots_of_portfolio();

CREATE FUNCTION refuse_portfolio_renumbering() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE foreign_key_violation USING MESSAGE = 'the id of a portfolio does not change';
END $$;
CREATE TRIGGER portfolios_renumbered BEFORE UPDATE OF id ON portfolios
    FOR EACH ROW WHEN (OLD.id IS DISTINCT FROM NEW.id) EXECUTE FUNCTION refuse_portfolio_renumbering();
