-- What vacuum and the next checkpoint would do in a while anyway. No parameters.
VACUUM ANALYZE;
CHECKPOINT;
