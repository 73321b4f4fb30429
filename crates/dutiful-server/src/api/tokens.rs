//! Tokens over HTTP: who may administer makes and revokes them.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Site;
use super::access::{Admin, Allowed};
use super::input::{Body, Text};
use super::problem::Problem;
use crate::access::tokens::{self, NewToken, TokenError, TokenInfo};

/// A token without its secret.
#[derive(Serialize, ToSchema)]
#[schema(as = Token)]
pub(crate) struct TokenView {
    id: String,
    /// Who or what has it.
    name: String,
    scopes: Vec<&'static str>,
    /// The only queues to enqueue into and work on; all where this is empty.
    queues: Vec<String>,
    /// How often it may ask, per second, of one server.
    rate_per_s: u32,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    expires_at: Option<String>,
    /// To the minute.
    #[schema(format = DateTime)]
    last_used_at: Option<String>,
}

impl From<TokenInfo> for TokenView {
    fn from(one: TokenInfo) -> Self {
        Self {
            id: one.id,
            name: one.name,
            scopes: one.scopes,
            queues: one.queues,
            rate_per_s: one.rate_per_s,
            created_at: one.created_at.to_string(),
            expires_at: one.expires_at.map(|at| at.to_string()),
            last_used_at: one.last_used_at.map(|at| at.to_string()),
        }
    }
}

/// The tokens that are there, newest first.
#[derive(Serialize, ToSchema)]
pub(crate) struct TokensView {
    tokens: Vec<TokenView>,
}

/// List tokens, without their secrets.
#[utoipa::path(get, path = "/v1/tokens", tag = "access",
    responses((status = 200, body = TokensView)))]
pub(super) async fn list(
    _: Allowed<Admin>,
    State(site): State<Site>,
) -> Result<Json<TokensView>, Problem> {
    let tokens = tokens::list(site.client()).await?.into_iter().map(TokenView::from).collect();
    Ok(Json(TokensView { tokens }))
}

/// A token to make.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewToken)]
pub(crate) struct TokenInput {
    /// Who or what has it.
    #[schema(min_length = 1, max_length = 100)]
    name: String,
    /// read, enqueue, work, operate, admin.
    #[schema(min_items = 1)]
    scopes: Vec<String>,
    /// Only these queues; with the scopes enqueue and work alone.
    #[serde(default)]
    #[schema(max_items = 100)]
    queues: Vec<String>,
    #[schema(minimum = 1)]
    expires_in_s: Option<u64>,
    /// How often it may ask, per second, of one server (1000).
    #[schema(minimum = 1, maximum = 1000000)]
    rate_per_s: Option<u32>,
}

/// A token and its secret.
#[derive(Serialize, ToSchema)]
#[schema(as = TokenMade)]
pub(crate) struct Made {
    /// Shown this once.
    token: String,
    #[serde(flatten)]
    about: TokenView,
}

/// Make a token. From then on nobody is let in without credentials.
#[utoipa::path(post, path = "/v1/tokens", tag = "access", request_body = TokenInput,
    responses((status = 201, body = Made)))]
pub(super) async fn create(
    allowed: Allowed<Admin>,
    State(site): State<Site>,
    Body(given): Body<TokenInput>,
) -> Result<(StatusCode, Json<Made>), Problem> {
    let new = NewToken {
        name: given.name,
        scopes: given.scopes,
        queues: given.queues,
        expires_in: given.expires_in_s.map(Duration::from_secs),
        rate_per_s: given.rate_per_s,
    };
    let (token, about) = tokens::create(site.client(), new).await.map_err(|error| match error {
        TokenError::Invalid(why) => Problem::invalid(why),
        TokenError::Store(error) => error.into(),
    })?;
    site.gate().tokens.changed();
    let said = serde_json::json!({ "id": &about.id, "name": &about.name, "scopes": &about.scopes });
    allowed.detail(said);
    Ok((StatusCode::CREATED, Json(Made { token, about: about.into() })))
}

/// The id of a token.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code, reason = "it describes what `Text` reads")]
struct TokenPath {
    id: String,
}

/// Take a token away: within a second no server lets it in.
#[utoipa::path(delete, path = "/v1/tokens/{id}", tag = "access", params(TokenPath),
    responses((status = 204)))]
pub(super) async fn revoke(
    _: Allowed<Admin>,
    State(site): State<Site>,
    Text(id): Text,
) -> Result<StatusCode, Problem> {
    let gone = tokens::revoke(site.client(), &id).await?;
    site.gate().tokens.changed();
    match gone {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(Problem::not_found("no token has this id; it may be revoked or have ended")),
    }
}
