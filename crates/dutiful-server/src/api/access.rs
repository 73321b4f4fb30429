//! Who may do what: the scope that each route names in its type.

use std::marker::PhantomData;
use std::sync::Arc;

use axum::extract::{FromRequestParts, MatchedPath, RawPathParams, Request, State};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use dutiful::{Name, WorkerId};

use super::Site;
use super::problem::Problem;
use crate::access::scopes::Scope;
use crate::access::{Caller, Refusal};
use crate::audit::{Open, Slot};
use crate::labels::lock;

/// A scope as a type.
pub(crate) trait Needs: Send + Sync + 'static {
    const SCOPE: Scope;
}

macro_rules! needs {
    ($($name:ident),*) => {$(
        /// The scope of this name.
        pub(crate) struct $name;
        impl Needs for $name {
            const SCOPE: Scope = Scope::$name;
        }
    )*};
}

needs!(Read, Enqueue, Work, Operate, Admin);

/// The caller may do what the scope allows. What operators change is written down before anything
/// is done.
pub(crate) struct Allowed<S> {
    caller: Caller,
    written: Option<Arc<Open>>,
    scope: PhantomData<S>,
}

impl<S: Needs> FromRequestParts<Site> for Allowed<S> {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, site: &Site) -> Result<Self, Problem> {
        let caller = site.gate().admit(parts, S::SCOPE).await?;
        let mut written = None;
        if matches!(S::SCOPE, Scope::Operate | Scope::Admin) && !parts.method.is_safe() {
            let about = (caller.actor.clone(), action(parts), subject(parts, site).await);
            let open = Open::write(site.client(), about).await?;
            if let Some(Slot(slot)) = parts.extensions.get() {
                *lock(slot) = Some(open.clone());
            }
            written = Some(open);
        }
        Ok(Self { caller, written, scope: PhantomData })
    }
}

/// Whoever asks may: nothing is shown but what they are known as, and nothing is changed but that.
pub(crate) struct Anyone;

impl FromRequestParts<Site> for Anyone {
    type Rejection = Problem;
    async fn from_request_parts(_: &mut Parts, _: &Site) -> Result<Self, Problem> {
        Ok(Self)
    }
}

impl<S> Allowed<S> {
    /// Who it is, for people.
    pub(crate) fn actor(&self) -> &str {
        &self.caller.actor
    }

    /// What they may do.
    pub(super) fn scopes(&self) -> Vec<&'static str> {
        self.caller.scopes.names()
    }

    /// Whether redacted fields are shown.
    pub(crate) fn sees_all(&self) -> bool {
        self.caller.sees_all()
    }

    /// Adds to what is written down about this request.
    pub(crate) fn detail(&self, detail: serde_json::Value) {
        if let Some(written) = &self.written {
            written.detail(detail);
        }
    }

    /// True where the caller may use some queues only.
    pub(super) fn is_limited(&self) -> bool {
        self.caller.queues.is_some()
    }

    /// Refuses queues that the caller may not use.
    pub(super) fn queues<'n>(
        &self,
        names: impl IntoIterator<Item = &'n Name>,
    ) -> Result<(), Problem> {
        let foreign = names.into_iter().find(|name| !self.caller.may_use(name.as_str()));
        foreign.map_or(Ok(()), |name| {
            let detail = format!("this token is not for the queue {name}");
            Err(Problem::new(StatusCode::FORBIDDEN, "forbidden", detail))
        })
    }

    /// Refuses to speak for a worker of queues that the caller may not use.
    pub(super) async fn worker(&self, site: &Site, worker: WorkerId) -> Result<(), Problem> {
        if !self.is_limited() {
            return Ok(());
        }
        let card = site.card(worker).await?;
        self.queues(card.queues.iter().map(|(name, _)| name))
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Unknown(detail) => Self::new(StatusCode::UNAUTHORIZED, "unauthorized", detail),
            Refusal::Lesser(scope) => {
                let detail = format!("this needs the scope {}", scope.name());
                Self::new(StatusCode::FORBIDDEN, "forbidden", detail)
            }
            Refusal::Unsaid => {
                let detail = "a change by a session has to say where it comes from, as browsers \
                              do; programs send a token";
                Self::new(StatusCode::FORBIDDEN, "forbidden", detail)
            }
            Refusal::Often(wait) => {
                let detail = "this asks more often than it may; wait as long as Retry-After says";
                Self::new(StatusCode::TOO_MANY_REQUESTS, "too_often", detail).retry_after(wait)
            }
            Refusal::Unavailable(why) => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "store_unavailable", why)
            }
        }
    }
}

/// Names what a request does by its route: `POST /v1/jobs/{id}/retry` is `jobs.retry`.
fn action(parts: &Parts) -> String {
    let path = parts.extensions.get::<MatchedPath>().map(MatchedPath::as_str).unwrap_or_default();
    let words =
        path.split('/').filter(|word| !word.is_empty() && *word != "v1" && !word.starts_with('{'));
    let mut words: Vec<_> = words.collect();
    match parts.method {
        Method::DELETE => words.push("delete"),
        Method::PUT => words.push("set"),
        _ if words.len() == 1 => words.push("create"),
        _ => {}
    }
    words.join(".")
}

/// Returns the one name in the path, if there is one.
async fn subject(parts: &mut Parts, site: &Site) -> String {
    let params = RawPathParams::from_request_parts(parts, site).await;
    let first = params.ok().and_then(|all| all.iter().next().map(|(_, value)| value.to_owned()));
    // As long as the longest name and no longer, whatever somebody wrote into the path.
    first.unwrap_or_default().chars().take(128).collect()
}

/// Writes down how a change of an operator's went.
pub(crate) async fn audited(
    State(site): State<Site>,
    mut request: Request,
    next: Next,
) -> Response {
    let (slot, safe) = (Slot::default(), request.method().is_safe());
    request.extensions_mut().insert(slot.clone());
    let response = next.run(request).await;
    if !safe {
        site.changed();
    }
    let written = lock(&slot.0).take();
    if let Some(open) = written {
        if response.status().is_success() {
            site.see_anew();
        }
        open.close(site.client(), response.status().as_u16()).await;
    }
    response
}

/// Lets only those pass who may look at everything.
pub(crate) async fn readers_only(
    State(site): State<Site>,
    request: Request,
    next: Next,
) -> Response {
    let (parts, body) = request.into_parts();
    match site.gate().admit(&parts, Scope::Read).await {
        Ok(_) => next.run(Request::from_parts(parts, body)).await,
        Err(refusal) => Problem::from(refusal).into_response(),
    }
}
