//! What may happen in a history: steps that name jobs and fences by what the history made so far,
//! so that a step keeps its meaning when shrinking takes steps before it away.

/// One verb with its parameters, or time that passes. Jobs, fences, queues, types and workers are
/// numbers; `lockstep.rs` says what they stand for.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Enqueue(Vec<New>),
    Claim(Ask),
    Finish(Vec<Ending>),
    Heartbeat { worker: u8, grips: Vec<Grip>, lease_s: u64 },
    CancelRequests(u8),
    Held(Vec<Grip>),
    Note(Vec<Said>),
    Cancel(Vec<u8>),
    Retry(Vec<u8>),
    Discard(Vec<u8>),
    Reschedule(Vec<u8>, i64),
    Delete(Vec<u8>),
    Pause(u8, bool),
    Clear { queue: u8, limit: usize },
    Show(u8),
    Result(Vec<u8>),
    List(Look),
    Workers,
    Register { worker: u8, types: u8, priority: u16, quiet: bool },
    Leave(u8),
    Types(Vec<u8>),
    Lead { worker: u8, ttl_s: u64 },
    Abdicate { worker: u8, term: Term },
    Promote { term: Term, limit: usize },
    Rescue { term: Term, crashes_max: u32, limit: usize, patience_s: u64 },
    Prune { term: Term, completed_d: u64, dead_d: u64 },
    Fold(Term),
    Once { key: u8, grip: Grip, ttl_s: u64 },
    OnceStore { key: u8, grip: Grip, result: Option<u8> },
    Pass { ms: u64 },
    GoBack { ms: u64 },
}

/// A job to enqueue.
#[derive(Clone, Debug)]
pub(crate) struct New {
    pub(crate) id: Id,
    pub(crate) queue: u8,
    pub(crate) job_type: u8,
    pub(crate) priority: u16,
    pub(crate) when: When,
    pub(crate) key: Option<u8>,
    pub(crate) at_most_once: bool,
    pub(crate) bytes: usize,
    pub(crate) group: Option<u8>,
    /// A bit for each tag.
    pub(crate) tags: u8,
    pub(crate) correlation: Option<u8>,
    pub(crate) traced: bool,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Id {
    /// Of the clock's time, as clients make them.
    Fresh,
    /// Of no time at all.
    Random,
    /// Of a job enqueued before.
    Again(u8),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum When {
    AtOnce,
    AfterS(u64),
    /// So many seconds from now, or ago.
    AtS(i64),
}

/// A claim.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) worker: u8,
    pub(crate) lanes: Vec<(u8, usize, usize)>,
    /// A bit for each type.
    pub(crate) types: u8,
    pub(crate) lease_s: u64,
    pub(crate) limit: usize,
    pub(crate) bytes: usize,
    pub(crate) crashed: usize,
}

/// A fence that somebody holds, or believes to hold.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Grip {
    /// Of one of the leases that stand now.
    Live(u8),
    /// Of any claim so far, the newest first.
    Claimed(u8),
    WrongNonce(u8),
    WrongAttempt(u8),
    /// The attempt and nonce of one claim with the job of another.
    WrongJob(u8, u8),
}

/// What a handler says of its attempt.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Said {
    pub(crate) grip: Grip,
    pub(crate) percent: Option<u8>,
    pub(crate) checkpoint: Option<u8>,
    /// Lines: so many, from this number on.
    pub(crate) lines: Option<(u32, u32)>,
}

/// The end of an attempt.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ending {
    pub(crate) grip: Grip,
    pub(crate) end: How,
    pub(crate) ran_ms: u64,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum How {
    Completed(Option<u8>),
    FailedS(u64),
    Exhausted,
    Discarded,
    SnoozedS(u64),
    Released,
    Cancelled,
}

/// A filter; pages of so many.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    pub(crate) state: Option<u8>,
    pub(crate) live: bool,
    pub(crate) queue: Option<u8>,
    pub(crate) job_type: Option<u8>,
    pub(crate) group: Option<u8>,
    pub(crate) tag: Option<u8>,
    pub(crate) correlation: Option<u8>,
    /// Since the enqueue of this job.
    pub(crate) since: Option<u8>,
    /// Until the enqueue of this job.
    pub(crate) until: Option<u8>,
    pub(crate) error: Option<u8>,
    pub(crate) before: Option<u8>,
    pub(crate) limit: usize,
}

/// The term that a chore names.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Term {
    Now,
    Old,
    Next,
}

/// Prints a history as Rust: it can be put into `kept.rs` as it is.
pub(crate) fn as_rust(steps: &[Step]) -> String {
    let line = |step: &Step| format!("    {step:?},\n").replace('[', "vec![");
    steps.iter().map(line).collect()
}
