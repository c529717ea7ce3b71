-- Whether an administrator asked for the run, beside the schedule. The ends of keys said so before.
ALTER TABLE job_runs ADD COLUMN requested BOOLEAN NOT NULL DEFAULT FALSE;

UPDATE job_runs SET requested = TRUE WHERE key LIKE '% on request';
