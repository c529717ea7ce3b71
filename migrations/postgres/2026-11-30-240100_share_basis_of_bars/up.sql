-- Bars that earlier versions stored of Yahoo are in the shares of the day on which they were fetched, and not in those of
-- their own days. They are told apart, used for no conversion, and replaced as the source tells them again.
UPDATE price_bars SET source = 'yahoo/adjusted' WHERE source = 'yahoo';

-- A price may be in other shares than the accepted one.
ALTER TABLE unconfirmed_prices DROP CONSTRAINT unconfirmed_prices_doubt_check;
ALTER TABLE unconfirmed_prices ADD CONSTRAINT unconfirmed_prices_doubt_check
    CHECK (doubt IN ('unit_slip', 'large_move', 'split_not_booked', 'possible_split'));
