//! Handlers by type, their Rust types forgotten: bytes in, an answer out.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::pin::Pin;
use std::sync::Arc;

use crate::context::{Attempt, Context};
use crate::id::Name;
use crate::job::{Delivery, Job, TypeDefaults};
use crate::outcome::{Answer, HandlerError, IntoOutcome, Result};
use crate::retry::Retry;

pub(super) type Answering = Pin<Box<dyn Future<Output = Result<Answer>> + Send>>;
pub(super) type AsyncFn = dyn Fn(Vec<u8>, Arc<Attempt>) -> Answering + Send + Sync;
pub(super) type BlockingFn = dyn Fn(Vec<u8>, Arc<Attempt>) -> Result<Answer> + Send + Sync;

/// What runs a type.
#[derive(Clone)]
pub(super) enum Handler {
    Async(Arc<AsyncFn>),
    Blocking(Arc<BlockingFn>),
}

#[derive(Clone)]
pub(super) struct Entry {
    pub(super) handler: Handler,
    pub(super) retry: Retry,
    pub(super) defaults: TypeDefaults,
}

#[derive(Default)]
pub(super) struct Registry {
    entries: HashMap<Name, Entry>,
    twice: Option<Name>,
}

impl Registry {
    pub(super) fn add_async<A, J, F, Fut, R>(
        &mut self,
        defaults: TypeDefaults,
        retry: Retry,
        app: Arc<A>,
        handler: F,
    ) where
        A: Send + Sync + 'static,
        J: Job,
        F: Fn(J, Context<A>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R>> + Send + 'static,
        R: IntoOutcome,
    {
        let handler = Arc::new(handler);
        let run = move |payload: Vec<u8>, attempt: Arc<Attempt>| -> Answering {
            let (app, handler) = (app.clone(), handler.clone());
            Box::pin(async move {
                let job = decode::<J>(&payload)?;
                drop(payload);
                handler(job, Context { app, attempt }).await?.into_answer()
            })
        };
        self.add(defaults, retry, Handler::Async(Arc::new(run)));
    }

    pub(super) fn add_blocking<A, J, F, R>(
        &mut self,
        defaults: TypeDefaults,
        retry: Retry,
        app: Arc<A>,
        handler: F,
    ) where
        A: Send + Sync + 'static,
        J: Job,
        F: Fn(J, Context<A>) -> Result<R> + Send + Sync + 'static,
        R: IntoOutcome,
    {
        let run = move |payload: Vec<u8>, attempt: Arc<Attempt>| {
            let job = decode::<J>(&payload)?;
            handler(job, Context { app: app.clone(), attempt })?.into_answer()
        };
        self.add(defaults, retry, Handler::Blocking(Arc::new(run)));
    }

    pub(super) fn add_raw<A, F, Fut, R>(
        &mut self,
        defaults: TypeDefaults,
        retry: Retry,
        app: Arc<A>,
        handler: F,
    ) where
        A: Send + Sync + 'static,
        F: Fn(Vec<u8>, Context<A>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R>> + Send + 'static,
        R: IntoOutcome,
    {
        let run = move |payload: Vec<u8>, attempt: Arc<Attempt>| -> Answering {
            let answering = handler(payload, Context { app: app.clone(), attempt });
            Box::pin(async move { answering.await?.into_answer() })
        };
        self.add(defaults, retry, Handler::Async(Arc::new(run)));
    }

    fn add(&mut self, defaults: TypeDefaults, retry: Retry, handler: Handler) {
        let name = defaults.job_type.clone();
        if self.entries.insert(name.clone(), Entry { handler, retry, defaults }).is_some() {
            self.twice = Some(name);
        }
    }

    /// Puts something around every handler.
    pub(super) fn wrap(&mut self, around: impl Fn(Handler) -> Handler) {
        for entry in self.entries.values_mut() {
            entry.handler = around(entry.handler.clone());
        }
    }

    pub(super) fn get(&self, job_type: &Name) -> Option<&Entry> {
        self.entries.get(job_type)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns a type that was given two handlers.
    pub(super) fn twice(&self) -> Option<&Name> {
        self.twice.as_ref()
    }

    pub(super) fn types(&self) -> HashSet<Name> {
        self.entries.keys().cloned().collect()
    }

    pub(super) fn defaults(&self) -> Vec<TypeDefaults> {
        self.entries.values().map(|entry| entry.defaults.clone()).collect()
    }

    /// Returns the queues of all types, in the order of their names.
    pub(super) fn queues(&self) -> BTreeSet<Name> {
        self.entries.values().map(|entry| entry.defaults.queue.clone()).collect()
    }

    /// True when some type is completed at its claim, so that nothing may be claimed ahead.
    pub(super) fn has_at_most_once(&self) -> bool {
        self.entries.values().any(|entry| entry.defaults.delivery == Delivery::AtMostOnce)
    }
}

fn decode<J: Job>(payload: &[u8]) -> Result<J> {
    serde_json::from_slice(payload).map_err(|error| {
        let text = format!("the payload does not fit type {}: {error}", J::TYPE);
        HandlerError::msg(text).with_class("payload")
    })
}
