DROP TABLE snapshot_versions;
