ALTER TABLE corporate_actions DROP COLUMN administrator;
DROP TABLE delisting_refusals;
DROP TABLE delisting_evidence;
