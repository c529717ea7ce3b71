DROP TABLE listings;
DROP TABLE provider_quotes;
DROP TABLE provider_leases;
DROP TABLE providers;
DROP TABLE provider_budget;
