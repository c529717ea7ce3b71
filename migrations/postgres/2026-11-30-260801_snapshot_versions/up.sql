-- How often snapshots were written for each batch of 4096 consecutive portfolio ids. Processes that cache the closed days
-- of a portfolio use this number to notice new and corrected rows.
CREATE TABLE snapshot_versions (
    batch BIGINT PRIMARY KEY NOT NULL,
    version BIGINT NOT NULL
);
