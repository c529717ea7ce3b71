-- How often snapshots were written for each batch of 4096 consecutive portfolio ids: processes that keep a portfolio's
-- closed days in memory see by it that a row is new or was corrected.
CREATE TABLE snapshot_versions (
    batch BIGINT PRIMARY KEY NOT NULL,
    version BIGINT NOT NULL
);
