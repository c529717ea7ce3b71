-- The day on which a stock was first traded, from its source. With the name, it identifies the company.
ALTER TABLE stocks ADD COLUMN listed_on DATE;

ALTER TABLE listings ADD COLUMN listed_on DATE;

-- The day since which a stock's former symbol belongs to another company. The stock then received another symbol.
ALTER TABLE stocks ADD COLUMN replaced_on DATE;
