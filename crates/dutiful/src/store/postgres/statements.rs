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
    "types",
    "views",
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
    use super::*;

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
