//! Who may do what: the scope that each route names in its type.

use std::marker::PhantomData;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use super::Site;
use super::problem::Problem;

/// What a credential can allow.
pub(crate) trait Scope: Send + Sync + 'static {
    /// Its name, as people write it.
    const NAME: &'static str;
}

/// Look at everything.
pub(crate) struct Read;
/// Put jobs into queues.
pub(crate) struct Enqueue;
/// Claim jobs and say how they ended.
pub(crate) struct Work;
/// Change jobs and queues.
pub(crate) struct Operate;

impl Scope for Read {
    const NAME: &'static str = "read";
}
impl Scope for Enqueue {
    const NAME: &'static str = "enqueue";
}
impl Scope for Work {
    const NAME: &'static str = "work";
}
impl Scope for Operate {
    const NAME: &'static str = "operate";
}

/// All scopes, by their names.
pub(crate) const SCOPES: [&str; 4] = [Read::NAME, Enqueue::NAME, Work::NAME, Operate::NAME];

/// The caller may do what the scope allows. Only loopback addresses are listened on, and without
/// credentials everything is open there, so today whoever reaches this may.
pub(crate) struct Allowed<S>(PhantomData<S>);

impl<S: Scope> FromRequestParts<Site> for Allowed<S> {
    type Rejection = Problem;
    async fn from_request_parts(_: &mut Parts, _: &Site) -> Result<Self, Problem> {
        Ok(Self(PhantomData))
    }
}
