//! The newest Postgres, as a role that may work and change no table, with a trap in its way: in its
//! search path another schema comes first, none of whose functions and operators may be called.

use std::sync::Once;

use dutiful_fixture::{PASSWORD, Postgres, USER, Version};

use crate::harness::{Address, Client, new_schema};

/// The login user of the role; its password too.
const NAME: &str = "conformance";

/// Whatever the trap names raises an error, so that its use is an error of the verb.
const TRAP: &str = "
    CREATE ROLE conformance LOGIN PASSWORD 'conformance' IN ROLE dutiful_runtime;
    CREATE SCHEMA evil;
    GRANT USAGE ON SCHEMA evil TO PUBLIC;
    DO $do$ DECLARE one text; BEGIN
        FOREACH one IN ARRAY ARRAY[
            'clock_timestamp() RETURNS timestamptz', 'length(text) RETURNS int',
            'length(bytea) RETURNS int', 'right(name, int) RETURNS text',
            'current_setting(text, boolean) RETURNS text', 'pg_backend_pid() RETURNS int',
            'pg_notify(text, text) RETURNS void', 'greatest(timestamptz) RETURNS timestamptz',
            'hit(uuid, uuid) RETURNS boolean', 'hit(text, text) RETURNS boolean',
            'hit(timestamptz, timestamptz) RETURNS boolean'
        ] LOOP
            EXECUTE format('CREATE FUNCTION evil.%s LANGUAGE plpgsql AS
                $$BEGIN RAISE EXCEPTION ''the trap was used''; END$$', one);
        END LOOP;
        FOREACH one IN ARRAY ARRAY['uuid', 'text', 'timestamptz'] LOOP
            EXECUTE format('CREATE OPERATOR evil.= (LEFTARG = %1$s, RIGHTARG = %1$s,
                FUNCTION = evil.hit)', one);
        END LOOP;
    END $do$;
    CREATE TABLE evil.pg_class (oid oid);
    ALTER ROLE conformance SET search_path = evil, pg_catalog;";

/// A schema of its own that its owner made, for a user of the runtime role.
pub(crate) fn postgres_18() -> Option<Address> {
    if !Version::V18.is_installed() {
        return None;
    }
    let server = Postgres::shared(Version::V18).expect("a private server starts");
    let schema = new_schema();
    let owner = format!("{}?schema={schema}", server.url("postgres"));
    let migration = Client::migration_sql(&owner, 0, None).expect("SQL is made");
    let roles = Client::roles_sql(&owner).expect("SQL is made");
    // Roles belong to the whole server, so they are made once; what they may do, in each schema.
    static TRAPPED: Once = Once::new();
    let run = |sql: &str| server.psql("postgres", sql).expect("the owner makes all of it");
    TRAPPED.call_once(|| drop(run(&format!("{roles}{TRAP}"))));
    run(&format!("{migration}{roles}"));
    let url = owner.replace(&format!("{USER}:{PASSWORD}@"), &format!("{NAME}:{NAME}@"));
    Some(Address { url, dir: None })
}
