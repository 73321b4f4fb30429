-- Back to a file that Dutiful never touched; every job is lost, so export them first.
DROP TABLE dutiful_once;
DROP TABLE dutiful_leader;
DROP TABLE dutiful_worker;
DROP TABLE dutiful_type;
DROP TABLE dutiful_total;
DROP TABLE dutiful_tally;
DROP TABLE dutiful_queue;
DROP TABLE dutiful_unique_key;
DROP TABLE dutiful_attempt;
DROP TABLE dutiful_dead;
DROP TABLE dutiful_done;
DROP TABLE dutiful_lease;
DROP TABLE dutiful_scheduled;
DROP TABLE dutiful_ready;
DROP TABLE dutiful_job;
