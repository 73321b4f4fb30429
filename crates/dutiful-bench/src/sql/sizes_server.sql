-- The size of the tables that every job passes through, and what died there and is not cleared up.
-- No parameters; reads catalogs alone.
SELECT pg_size_pretty(pg_table_size('dutiful.ready')),
    (SELECT n_dead_tup FROM pg_stat_all_tables WHERE relid = 'dutiful.ready'::regclass),
    pg_size_pretty(pg_table_size('dutiful.lease')),
    (SELECT n_dead_tup FROM pg_stat_all_tables WHERE relid = 'dutiful.lease'::regclass)
