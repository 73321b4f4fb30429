-- Back to version 2: tokens, sessions, audit log, history and the classes of failures are lost, the
-- jobs and their counts stay as they are.
DROP TABLE dutiful_kept;
DROP TABLE dutiful_failure_total;
