ALTER TABLE stocks DROP COLUMN replaced_on;
ALTER TABLE listings DROP COLUMN listed_on;
ALTER TABLE stocks DROP COLUMN listed_on;
