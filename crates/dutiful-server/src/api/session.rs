//! Signing in and out, for people with a browser.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Site;
use super::access::Anyone;
use super::input::Body;
use super::problem::Problem;
use crate::access::sessions::{SESSION_LASTS, Session};
use crate::access::{Refusal, clearing, setting};

/// Who asks, and what they may do.
#[derive(Serialize, ToSchema)]
pub(crate) struct SessionView {
    /// True where nobody is asked for credentials.
    open: bool,
    /// Who it is; null for somebody who is not known.
    actor: Option<String>,
    /// What they may do.
    scopes: Vec<&'static str>,
    /// True where one can sign in by a password.
    password: bool,
}

/// Say who asks. Never refused: somebody who is not known is told so.
#[utoipa::path(get, path = "/v1/session", tag = "access",
    responses((status = 200, body = SessionView)))]
pub(super) async fn show(
    _: Anyone,
    State(site): State<Site>,
    request: Request,
) -> Result<Json<SessionView>, Problem> {
    let (parts, _) = request.into_parts();
    let password = site.gate().password_hash().is_some();
    let open = site.gate().is_open().await.map_err(Refusal::Unavailable)?;
    let caller = match site.gate().caller(&parts).await {
        Ok(caller) => Some(caller),
        Err(Refusal::Unknown(_)) => None,
        Err(refusal) => return Err(refusal.into()),
    };
    let scopes = caller.as_ref().map(|caller| caller.scopes.names()).unwrap_or_default();
    let actor = caller.filter(|caller| caller.known).map(|caller| caller.actor);
    Ok(Json(SessionView { open, actor, scopes, password }))
}

/// One of the two.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SignIn {
    /// The operators' password.
    password: Option<String>,
    /// A token, which a browser is not asked to keep.
    token: Option<String>,
}

/// Sign in: sets a cookie that holds for twelve hours.
#[utoipa::path(post, path = "/v1/session", tag = "access", request_body = SignIn,
    responses((status = 204, description = "The cookie is set")))]
pub(super) async fn begin(
    _: Anyone,
    State(site): State<Site>,
    Body(given): Body<SignIn>,
) -> Result<Response, Problem> {
    let gate = site.gate();
    let session = match (given.password, given.token) {
        (Some(password), None) => {
            let wrong = || Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", WRONG);
            let hash = gate.password_hash().ok_or_else(wrong)?;
            let right = gate.passwords.check(password, hash).await.map_err(Refusal::Often)?;
            if !right {
                return Err(wrong());
            }
            Session::of_password(hash)
        }
        (None, Some(token)) => {
            let tokens = gate.tokens.all().await.map_err(Refusal::Unavailable)?;
            let id = tokens.id_of(token.trim());
            let wrong = || Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", WRONG);
            Session::of_token(&id.ok_or_else(wrong)?)
        }
        _ => return Err(Problem::invalid("send either a password or a token")),
    };
    let secret = gate.sessions.begin(&session).await?;
    let cookie = setting(&secret, SESSION_LASTS.as_secs());
    let cookie = cookie.ok_or_else(|| Problem::invalid("the cookie could not be written"))?;
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]).into_response())
}

const WRONG: &str = "that is not the password, or no token that holds; nothing was changed";

/// Sign out.
#[utoipa::path(delete, path = "/v1/session", tag = "access",
    responses((status = 204, description = "The session has ended")))]
pub(super) async fn end(
    _: Anyone,
    State(site): State<Site>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    site.gate().sessions.end(&headers).await?;
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, clearing())]).into_response())
}
