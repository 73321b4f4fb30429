-- Back to version 1: progress, checkpoints and log lines are lost, the jobs stay as they are.
ALTER TABLE dutiful_worker DROP COLUMN quiet;
DROP TABLE dutiful_log;
DROP TABLE dutiful_progress;
