-- Whether an administrator requested the run, in addition to the scheduled ones. Earlier versions stored this in the key.
ALTER TABLE job_runs ADD COLUMN requested BOOLEAN NOT NULL DEFAULT FALSE;

UPDATE job_runs SET requested = TRUE WHERE key LIKE '% on request';
