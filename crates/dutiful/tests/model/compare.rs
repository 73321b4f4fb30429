//! Compares what a store tells with what the model says, and tells both apart in short words.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::Mutex;

use dutiful::{
    AttemptInfo, Filter, JobId, JobInfo, LOG_ATTEMPTS_MAX, LOG_LINES_MAX, State, StoreError,
};

use crate::lockstep::Lockstep;

/// `Ok` when store and model agree, else how they differ.
pub(crate) type Same = Result<(), String>;

/// Compares an answer.
pub(crate) fn same<T: PartialEq + Debug>(told: Result<T, StoreError>, expected: T) -> Same {
    match told {
        Ok(told) if told == expected => Ok(()),
        told => Err(differ(&told, &expected)),
    }
}

/// Compares an answer that has no equality of its own.
pub(crate) fn same_debug<T: Debug>(told: Result<T, StoreError>, expected: T) -> Same {
    match told {
        Ok(told) if format!("{told:?}") == format!("{expected:?}") => Ok(()),
        told => Err(differ(&told, &expected)),
    }
}

fn differ(told: &dyn Debug, expected: &dyn Debug) -> String {
    format!("the store tells\n  {told:?}\nthe model says\n  {expected:?}")
}

/// Compares all pages of a list: newest first, full but for the last, together all that fit.
pub(crate) async fn pages(run: &Lockstep, filter: Filter) -> Same {
    let (mut told, mut before) = (Vec::new(), filter.before);
    loop {
        let page = run.store.list(Filter { before, ..filter.clone() }).await;
        let page = page.map_err(|error| error.to_string())?;
        if page.next.is_some() && Some(page.jobs.len()) != filter.limit {
            return Err(format!("a page of {} and one after it", page.jobs.len()));
        }
        told.extend(page.jobs);
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    let expected = run.model.list(&filter);
    note_what_was_found(&filter, &expected);
    if told.len() != expected.len() {
        let ids = |jobs: &[JobInfo]| jobs.iter().map(|job| job.id).collect::<Vec<_>>();
        return Err(differ(&ids(&told), &ids(&expected)));
    }
    told.iter().zip(&expected).try_for_each(|(told, expected)| same_job(told, expected))
}

/// Compares all that can be seen of one job.
pub(crate) async fn one(run: &Lockstep, id: JobId) -> Same {
    let told = run.store.show(id).await.map_err(|error| error.to_string())?;
    match (told, run.model.show(id)) {
        (None, None) => Ok(()),
        (Some(told), Some(expected)) => same_job(&told, &expected),
        (told, expected) => Err(differ(&told.map(|job| job.state), &expected.map(|job| job.state))),
    }
}

/// Compares how jobs ended, as those hear who wait for them.
pub(crate) async fn results(run: &Lockstep, ids: Vec<JobId>) -> Same {
    let mut told = run.store.result(ids.clone()).await;
    if let Ok(told) = &mut told {
        let errors = told.iter_mut().flatten().filter_map(|one| one.error.as_mut());
        errors.for_each(forget_words);
    }
    same_debug(told, run.model.result(&ids))
}

/// Compares all jobs as lists show them, the queues, the workers and the numbers.
pub(crate) async fn numbers(run: &Lockstep) -> Same {
    pages(run, Filter { limit: Some(1000), ..Filter::default() }).await?;
    same_debug(run.store.queues().await, run.model.queues())?;
    same_debug(run.store.workers().await, run.model.workers())?;
    let stats = run.store.stats().await.map_err(|error| error.to_string())?;
    same_debug(Ok(stats.queues), run.model.queues())?;
    same(Ok(stats.totals), run.model.totals())?;
    let totals = run.store.totals().await.map_err(|error| error.to_string())?;
    let failed = totals.into_iter().filter(|one| one.failed > 0);
    let failed = failed.map(|one| (one.queue, one.job_type, one.failed, one.error_classes));
    same(Ok(failed.collect()), run.model.failures())?;
    let expected = run.model.warnings();
    // What a server says of its own settings is no business of the jobs.
    let of_jobs = |one: &&String| !one.starts_with("the server: ");
    let warnings: Vec<_> = stats.warnings.iter().filter(of_jobs).collect();
    let once = |word: &String| warnings.iter().filter(|one| one.contains(word)).count() == 1;
    if warnings.len() != expected.len() || !expected.iter().all(once) {
        return Err(differ(&warnings, &expected));
    }
    Ok(())
}

/// Compares everything that can be asked: after the last step nothing may be left that differs.
pub(crate) async fn everything(run: &mut Lockstep) -> Same {
    numbers(run).await.map_err(|why| format!("at the end: {why}"))?;
    for state in State::ALL {
        let filter = Filter { state: Some(state), limit: Some(3), ..Filter::default() };
        pages(run, filter).await.map_err(|why| format!("{state} at the end: {why}"))?;
    }
    note_what_was_met(run);
    for id in &run.ids {
        one(run, *id).await.map_err(|why| format!("job {id} at the end: {why}"))?;
    }
    results(run, run.ids.clone()).await.map_err(|why| format!("results at the end: {why}"))?;
    let fences: Vec<_> = run.claims.iter().map(|(_, claimed)| claimed.fence).collect();
    let told = run.store.held(fences.clone()).await;
    same(told, run.model.held(&fences)).map_err(|why| format!("held at the end: {why}"))
}

/// What the histories of this process met, in words.
static MET: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

fn note_what_was_met(run: &Lockstep) {
    let mut met = MET.lock().expect("nobody panics here");
    for job in run.ids.iter().filter_map(|id| run.model.show(*id)) {
        met.insert(format!("{:?} {:?}", job.state, job.dead_reason));
        met.extend(job.attempts.iter().map(|one| format!("{:?}", one.outcome)));
        let logs = |log: &&AttemptInfo| !log.log.is_empty();
        if job.attempts.iter().any(|one| one.log.len() == LOG_LINES_MAX as usize) {
            met.insert("a full log".into());
        }
        if job.attempts.iter().filter(logs).count() == LOG_ATTEMPTS_MAX as usize {
            met.insert("many logs".into());
        }
    }
    met.extend(run.model.workers().iter().map(|one| format!("{:?}", one.state)));
}

/// Notes which conditions jobs met.
fn note_what_was_found(filter: &Filter, found: &[JobInfo]) {
    if found.is_empty() {
        return;
    }
    let conditions = [
        ("group", filter.group.is_some()),
        ("tag", filter.tag.is_some()),
        ("correlation id", filter.correlation_id.is_some()),
        ("since", filter.since.is_some()),
        ("until", filter.until.is_some()),
        ("error", filter.error.is_some()),
    ];
    let asked = conditions.into_iter().filter(|(_, asked)| *asked);
    MET.lock().expect("nobody panics here").extend(asked.map(|(name, _)| name.to_owned()));
}

/// Fails when a campaign met no job in some state, no attempt of some outcome, and so on: then the
/// model would agree with anything about them.
pub(crate) fn has_met_everything() {
    let met = MET.lock().expect("nobody panics here");
    let (states, reasons, outcomes) = (State::ALL.len() - 1, 3, 9);
    let (logs, workers, conditions) = (2, 3, 6);
    let all = states + reasons + outcomes + logs + workers + conditions;
    assert_eq!(met.len(), all, "only {met:?}");
}

/// Compares these fields; a field of `JobInfo` that is not named here does not compile.
macro_rules! fields {
    ($told:ident, $expected:ident: $($field:ident),*) => {{
        let JobInfo {
            payload: _, result: _, checkpoint: _, attempts: _, last_error: _, $($field: _),*
        } = $told;
        let mut differences = Vec::new();
        $(if $told.$field != $expected.$field {
            let (told, expected) = (&$told.$field, &$expected.$field);
            differences.push(format!(
                "  {}: the store tells {told:?}, the model says {expected:?}", stringify!($field)
            ));
        })*
        differences
    }};
}

fn same_job(told: &JobInfo, expected: &JobInfo) -> Same {
    let mut differences = fields!(told, expected: id, job_type, state, queue, priority,
        payload_bytes, created_at, scheduled_for, attempt, failures, crashes, max_attempts,
        timeout_ms, correlation_id, trace_parent, group, unique_key, tags, delivery,
        last_attempt_at, finished_at, dead_reason, progress);
    let raw = |job: &JobInfo| {
        let text = |raw: &Option<Box<serde_json::value::RawValue>>| {
            raw.as_ref().map(|raw| raw.get().to_owned())
        };
        (text(&job.payload), text(&job.result), text(&job.checkpoint))
    };
    if raw(told) != raw(expected) {
        differences.push(differ(&raw(told), &raw(expected)));
    }
    let log = |job: &JobInfo| {
        let mut log = job.attempts.clone();
        let errors = log.iter_mut().filter_map(|one| one.error.as_mut());
        errors.for_each(forget_words);
        let mut last = job.last_error.clone();
        last.iter_mut().for_each(forget_words);
        (log, last)
    };
    let (log_told, log_expected) = (log(told), log(expected));
    if log_told != log_expected {
        differences.push(differ(&log_told, &log_expected));
    }
    if differences.is_empty() {
        return Ok(());
    }
    Err(format!("of {}\n{}", told.id, differences.join("\n")))
}

/// How a store words the message of a stall is its own affair, as long as it says something.
fn forget_words(error: &mut dutiful::Failure) {
    if error.class == "stalled" && !error.message.is_empty() {
        error.message.clear();
    }
}

/// Puts short names in the place of ids and nonces.
pub(crate) fn named(run: &Lockstep, text: &str) -> String {
    let mut text = text.to_owned();
    for (n, id) in (1..).zip(&run.ids) {
        text = text.replace(&id.to_string(), &format!("job{n}"));
    }
    for (n, (_, claimed)) in (1..).zip(&run.claims) {
        text = text.replace(&claimed.fence.nonce.to_string(), &format!("nonce{n}"));
    }
    text
}
