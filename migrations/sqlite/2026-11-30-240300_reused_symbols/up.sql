-- The day on which a stock was first traded, as its source tells it: with the name it tells companies apart.
ALTER TABLE stocks ADD COLUMN listed_on DATE;

ALTER TABLE listings ADD COLUMN listed_on DATE;

-- The day from which on the symbol of a stock belongs to another company. The stock has another symbol since.
ALTER TABLE stocks ADD COLUMN replaced_on DATE;
