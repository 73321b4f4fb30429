-- The statements that took most of the time, by their first words, but for those that count. No
-- parameters.
SELECT left(regexp_replace(regexp_replace(query, '\s+', ' ', 'g'), '\|', '', 'g'), 60), calls,
    round(total_exec_time::numeric), round(mean_exec_time::numeric, 2),
    round(rows::numeric / calls),
    round((100 * total_exec_time / sum(total_exec_time) OVER ())::numeric) || ' %'
FROM pg_stat_statements WHERE toplevel AND query !~ 'pg_stat_|pg_current_wal'
ORDER BY total_exec_time DESC LIMIT 8
