-- Three roles, so that no program has more rights than its work needs. The names are proposals; run
-- this as a superuser or as the owner of the database, then make a login user for each program:
--     CREATE USER web PASSWORD '…' IN ROLE dutiful_producer;
-- Takes locks on the tables only for a moment each; safe to run again, and to be run again after a
-- migration, since a new table has no grants yet but those of the default privileges below.

DO $$ DECLARE role text; BEGIN
    FOREACH role IN ARRAY ARRAY['dutiful_owner', 'dutiful_runtime', 'dutiful_producer'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role) THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN', role);
        END IF;
    END LOOP;
END $$;

-- The owner migrates: it makes, changes and drops what is in the schema, and nothing else.
CREATE SCHEMA IF NOT EXISTS dutiful;
GRANT USAGE, CREATE ON SCHEMA dutiful TO dutiful_owner;

-- The runtime is for workers, the command line and the server: every verb, no change of a table.
GRANT USAGE ON SCHEMA dutiful TO dutiful_runtime;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA dutiful TO dutiful_runtime;
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA dutiful TO dutiful_runtime;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA dutiful TO dutiful_runtime;
ALTER DEFAULT PRIVILEGES FOR ROLE dutiful_owner IN SCHEMA dutiful
    GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO dutiful_runtime;
ALTER DEFAULT PRIVILEGES FOR ROLE dutiful_owner IN SCHEMA dutiful
    GRANT USAGE, SELECT ON SEQUENCES TO dutiful_runtime;
ALTER DEFAULT PRIVILEGES FOR ROLE dutiful_owner IN SCHEMA dutiful
    GRANT EXECUTE ON FUNCTIONS TO dutiful_runtime;

-- The producer enqueues, and sees of other jobs only whether their ids and keys are taken.
GRANT USAGE ON SCHEMA dutiful TO dutiful_producer;
DO $$ DECLARE part record; BEGIN
    FOR part IN
        SELECT * FROM (VALUES
            ('job', 'INSERT, SELECT (id, type, queue, priority, delivery, created_at,
                scheduled_for)'),
            ('ready', 'INSERT'),
            ('scheduled', 'INSERT'), ('tally', 'INSERT'), ('tally_batch', 'INSERT'),
            ('unique_key', 'INSERT, SELECT, DELETE'),
            ('schema', 'SELECT'), ('instance', 'SELECT'), ('type', 'SELECT'),
            ('sleeper', 'SELECT')
        ) AS needed (name, rights)
        WHERE to_regclass(format('dutiful.%I', name)) IS NOT NULL
    LOOP
        EXECUTE format('GRANT %s ON dutiful.%I TO dutiful_producer', part.rights, part.name);
    END LOOP;
END $$;
