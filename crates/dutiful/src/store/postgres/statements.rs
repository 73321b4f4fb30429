//! The SQL of each verb, cut into its named statements and put into the schema of this store.
//!
//! The files write `dutiful.` before every name of ours, so that they can be tried in psql as they
//! stand. Each parameter carries its type (`$1::uuid[]`), so that a statement can be sent without
//! being prepared. What statements of a file have in common stands once, as `-- :part_name`, and
//! each has `/* part_name */` in its place.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use tokio_postgres::types::Type;

use crate::store::common::sections::sections;

macro_rules! verbs {
    ($($verb:literal),* $(,)?) => {
        const FILES: &[(&str, &str)] =
            &[$(($verb, include_str!(concat!("sql/", $verb, ".sql")))),*];
    };
}

verbs![
    "abdicate",
    "cancel",
    "cancel_requests",
    "change",
    "claim",
    "clear",
    "delete",
    "discard",
    "doctor",
    "doorbell",
    "enqueue",
    "enqueue_sql",
    "facts",
    "finish",
    "finish_sql",
    "fold",
    "heartbeat",
    "held",
    "keep",
    "kept",
    "lead",
    "leave",
    "list",
    "migrate",
    "note",
    "once",
    "once_store",
    "pause",
    "promote",
    "prune",
    "queues",
    "register",
    "reschedule",
    "rescue",
    "retry",
    "show",
    "stats",
    "totals",
    "types",
    "views",
    "vitals",
    "within",
    "workers",
];

/// How the names of parts begin.
const PART: &str = "part_";
/// What the names of those begin with that live in the schema.
const FUNCTION: &str = "function";

/// A statement in the schema of this store.
pub(super) struct Statement {
    pub(super) sql: String,
    pub(super) types: Vec<Type>,
}

/// All statements, by verb and name.
pub(super) struct Statements(HashMap<(&'static str, &'static str), Arc<Statement>>);

impl Statements {
    pub(super) fn new(schema: &str) -> Self {
        let all = FILES.iter().flat_map(|(verb, file)| {
            sections(file).filter(|(name, _)| !name.starts_with(PART)).map(move |(name, sql)| {
                let sql = &whole(sql, file);
                let types = parameters(name, sql);
                ((*verb, name), Arc::new(Statement { sql: placed(&planted(sql), schema), types }))
            })
        });
        Self(all.collect())
    }

    pub(super) fn get(&self, verb: &'static str, name: &'static str) -> Arc<Statement> {
        self.0.get(&(verb, name)).cloned().unwrap_or_else(|| {
            // A name that no file has is a mistake in this crate; every statement is run by a test.
            panic!("sql/{verb}.sql has no statement \"{name}\"")
        })
    }

    /// Returns the functions that live in the schema, in the order of their names.
    pub(super) fn functions(schema: &str) -> String {
        let functions = FILES.iter().flat_map(|(_, file)| sections(file));
        let functions = functions.filter(|(name, _)| name.starts_with(FUNCTION));
        functions.map(|(_, sql)| placed(&planted(sql), schema) + ";\n").collect()
    }
}

/// Puts the parts of its file into a statement.
fn whole(sql: &str, file: &'static str) -> String {
    let parts = sections(file).filter(|(name, _)| name.starts_with(PART));
    parts.fold(sql.to_owned(), |sql, (name, part)| sql.replace(&format!("/* {name} */"), part))
}

/// Bugs in the SQL that can be put in on purpose: whether one is, the right words, the wrong ones.
const PLANTED: [(bool, &str, &str); 7] = [
    (cfg!(bug = "no_fence"), "AND l.attempt = g.attempt AND l.nonce = g.nonce", ""),
    (
        cfg!(bug = "complete_within_unfenced"),
        "IF lane IS NULL THEN",
        "IF lane IS NULL THEN RETURN; END IF; IF false THEN",
    ),
    (cfg!(bug = "rescue_without_attempt"), "place IN ('ready', 'cancelled')", "false"),
    (
        cfg!(bug = "stalls_uncounted"),
        "7 AS event WHERE place <> 'corrupt'",
        "7 AS event WHERE place = 'no'",
    ),
    (cfg!(bug = "one_more_crash"), "stalls >= crashes_max", "stalls > crashes_max"),
    (cfg!(bug = "numbers_unread"), "p.attempt = 2147483647", "false"),
    (cfg!(bug = "endless_is_a_time"), "WHEN isfinite(next)", "WHEN true"),
];

fn planted(sql: &str) -> Cow<'_, str> {
    let bugs = PLANTED.iter().filter(|(is_in, ..)| *is_in);
    bugs.fold(sql.into(), |sql, (_, right, wrong)| sql.replace(right, wrong).into())
}

/// Puts a statement's names into a schema.
pub(super) fn placed(sql: &str, schema: &str) -> String {
    sql.replace("dutiful.", &format!("\"{schema}\"."))
}

/// Returns the types of a statement's parameters; those in the body of a function are its own.
fn parameters(name: &str, sql: &str) -> Vec<Type> {
    if name.starts_with(FUNCTION) { Vec::new() } else { types(sql) }
}

/// Reads the types that the parameters carry.
fn types(sql: &str) -> Vec<Type> {
    let mut types = Vec::new();
    for rest in sql.split('$').skip(1) {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let Ok(number) = rest[..digits].parse::<usize>() else { continue };
        let Some(cast) = rest[digits..].strip_prefix("::") else { continue };
        let end = cast.find(|c: char| !c.is_ascii_alphanumeric() && c != '[' && c != ']');
        let known = known(&cast[..end.unwrap_or(cast.len())]);
        types.resize(types.len().max(number), Type::UNKNOWN);
        types[number - 1] = known;
    }
    types
}

fn known(name: &str) -> Type {
    match name {
        "uuid" => Type::UUID,
        "uuid[]" => Type::UUID_ARRAY,
        "text" => Type::TEXT,
        "text[]" => Type::TEXT_ARRAY,
        "bytea" => Type::BYTEA,
        "bytea[]" => Type::BYTEA_ARRAY,
        "smallint" => Type::INT2,
        "smallint[]" => Type::INT2_ARRAY,
        "int" => Type::INT4,
        "int[]" => Type::INT4_ARRAY,
        "bigint" => Type::INT8,
        "bigint[]" => Type::INT8_ARRAY,
        "boolean" => Type::BOOL,
        "boolean[]" => Type::BOOL_ARRAY,
        "timestamptz" => Type::TIMESTAMPTZ,
        "timestamptz[]" => Type::TIMESTAMPTZ_ARRAY,
        "json" => Type::JSON,
        // A type that is not listed is a mistake in this crate; the test below reads every file.
        other => panic!("a parameter of the type \"{other}\" is not known here"),
    }
}

#[cfg(test)]
mod tests {
    use dutiful_fixture::{Postgres, Version};

    use super::*;
    use crate::clock::Clock;
    use crate::store::Store as _;
    use crate::store::postgres::PostgresStore;
    use crate::store::postgres::session::settings;

    #[test]
    fn every_parameter_of_every_statement_carries_a_type() {
        for (key, statement) in Statements::new("jobs").0 {
            assert!(!statement.types.contains(&Type::UNKNOWN), "{key:?}: {}", statement.sql);
            assert!(!statement.sql.contains("dutiful."), "{key:?}");
            assert!(!statement.sql.contains(PART), "{key:?} asks for a part that its file has not");
        }
    }

    #[test]
    fn what_stands_in_a_function_is_no_parameter() {
        let body = "CREATE FUNCTION dutiful.f() AS $$ EXECUTE 'SELECT $1::numeric' USING 1 $$";
        assert!(parameters("function_f", body).is_empty());
        assert_eq!(parameters("f", "SELECT $1::int"), [Type::INT4]);
    }

    /// A server plans by what vacuum saw last. Where that was an empty table, to walk through all
    /// of it looks as cheap as to look for a row, and the plan stays when it is full.
    #[tokio::test]
    async fn no_statement_walks_through_a_table_that_was_empty_when_it_was_planned() {
        // They count, or look for what is wrong, and are asked for now and then.
        const MAY: [(&str, &str); 4] =
            [("queues", "all"), ("stats", "seen"), ("workers", "all"), ("doctor", "contents")];
        let server = Postgres::shared(Version::System).expect("a server for tests");
        let url = server.fresh_database().expect("an empty database");
        let store = PostgresStore::open(&url, Clock::default(), &[]).await.expect("it opens");
        store.migrate(None).await.expect("the schema is made");
        server.psql(&url, "VACUUM").expect("the tables are seen empty");
        let (mut walked, mut seen) = (Vec::new(), 0);
        for (key, statement) in Statements::new("dutiful").0 {
            let sql = &statement.sql;
            let begins = ["WITH", "SELECT", "(SELECT", "INSERT", "UPDATE", "DELETE"];
            let planned = begins.iter().any(|word| sql.starts_with(word));
            if !planned || statement.types.is_empty() || MAY.contains(&key) {
                continue;
            }
            let types: Vec<_> = statement.types.iter().map(|one| array(one.name())).collect();
            let nulls = vec!["NULL"; statement.types.len()].join(", ");
            let types = types.join(", ");
            let plan = server.psql(
                &url,
                &format!(
                    "{}; PREPARE one ({types}) AS {sql}; EXPLAIN (COSTS OFF) EXECUTE one ({nulls})",
                    settings("SET ", ";")
                ),
            );
            let plan = plan.unwrap_or_else(|error| panic!("{key:?}: {error}"));
            seen += 1;
            walked.extend(walks(&plan).into_iter().map(|line| format!("{key:?}: {line}")));
        }
        assert!(seen > 30, "{seen} statements were looked at");
        assert_eq!(walked, Vec::<String>::new());
    }

    /// The name of a type as it stands in PREPARE.
    fn array(name: &str) -> String {
        name.strip_prefix('_').map_or_else(|| name.to_owned(), |of| format!("{of}[]"))
    }

    /// The lines of a plan that read a table of jobs without a condition on an index.
    fn walks(plan: &str) -> Vec<&str> {
        const TABLES: [&str; 11] = [
            "job_",
            "done_",
            "ready",
            "scheduled",
            "lease",
            "dead",
            "attempt",
            "progress",
            "log",
            "unique_key",
            "once",
        ];
        /// By a row's place, or no table at all.
        const PLACED: [&str; 2] = ["Tid Scan", "Function Scan"];
        let lines: Vec<&str> = plan.lines().collect();
        let walks = |at: usize| {
            let line = lines[at].trim();
            let of_jobs = line
                .split_once(" on ")
                .is_some_and(|(_, table)| TABLES.iter().any(|name| table.starts_with(name)));
            let bounded = lines[..at].iter().rev().take(3).any(|line| line.contains("Limit"));
            let condition = lines.get(at + 1).is_some_and(|next| next.contains("Index Cond"));
            of_jobs
                && line.contains("Scan")
                && !PLACED.iter().any(|by| line.contains(by))
                && !condition
                && !bounded
        };
        (0..lines.len()).filter(|at| walks(*at)).map(|at| lines[at]).collect()
    }

    #[test]
    fn no_two_functions_have_one_name() {
        const BEGIN: &str = "CREATE OR REPLACE FUNCTION ";
        let all = Statements::functions("jobs");
        let mut names: Vec<_> = all.split(BEGIN).skip(1).map(|one| one.split('(').next()).collect();
        names.sort_unstable();
        for pair in names.windows(2) {
            assert_ne!(pair[0], pair[1], "the later one would stand in for the earlier");
        }
    }

    #[test]
    fn reads_types_in_any_order() {
        let sql = "SELECT $2::timestamptz, $1::uuid[], $1";
        assert_eq!(types(sql), [Type::UUID_ARRAY, Type::TIMESTAMPTZ]);
        assert_eq!(placed("SELECT dutiful.f()", "a_b"), "SELECT \"a_b\".f()");
    }

    #[test]
    fn each_bug_that_can_be_planted_finds_its_words() {
        for (_, right, wrong) in PLANTED {
            let found = FILES.iter().any(|(_, file)| file.contains(right));
            assert!(found, "no statement says \"{right}\", for \"{wrong}\" to stand there");
        }
    }
}
