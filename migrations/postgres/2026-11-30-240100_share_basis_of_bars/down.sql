UPDATE price_bars SET source = 'yahoo' WHERE source = 'yahoo/adjusted';

DELETE FROM unconfirmed_prices WHERE doubt = 'possible_split';
ALTER TABLE unconfirmed_prices DROP CONSTRAINT unconfirmed_prices_doubt_check;
ALTER TABLE unconfirmed_prices ADD CONSTRAINT unconfirmed_prices_doubt_check
    CHECK (doubt IN ('unit_slip', 'large_move', 'split_not_booked'));
