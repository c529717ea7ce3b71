-- Earlier versions stored Yahoo's bars in the shares of the day on which they were fetched. These bars get another source,
-- are not used, and are replaced when they are fetched again.
UPDATE price_bars SET source = 'yahoo/adjusted' WHERE source = 'yahoo';

-- A price may be in other shares than the accepted one.
ALTER TABLE unconfirmed_prices DROP CONSTRAINT unconfirmed_prices_doubt_check;
ALTER TABLE unconfirmed_prices ADD CONSTRAINT unconfirmed_prices_doubt_check
    CHECK (doubt IN ('unit_slip', 'large_move', 'split_not_booked', 'possible_split'));
