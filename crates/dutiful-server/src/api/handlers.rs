//! Push handlers over HTTP: who may administer registers, changes and strikes them while servers
//! run. Secrets go in and never come out.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use dutiful::{Delivery, Name, TypeDefaults};
use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::{Instant, sleep};
use utoipa::{IntoParams, ToSchema};

use super::Site;
use super::access::{Admin, Allowed};
use super::input::{Body, foreign_type, segment};
use super::problem::Problem;
use super::view::{DeliveryView, NameView};
use crate::handlers::{self, HANDLERS_MAX, Registration};
use crate::push::Secret;
use crate::shelf::Item;

/// How often a change is tried that somebody else's came before.
const TRIES: usize = 5;
/// Longest wait for the worker here to take up a change, and how often it is looked for.
const TAKEN_UP: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(20);

/// A push handler that was registered over HTTP.
#[derive(Serialize, ToSchema)]
#[schema(as = Handler)]
pub(crate) struct HandlerView {
    #[serde(rename = "type")]
    #[schema(value_type = NameView)]
    job_type: String,
    /// Where its jobs are sent.
    url: String,
    /// Scheme, host and port of that, as logs and metrics name it; null where it is no URL that can
    /// be called from here.
    origin: Option<String>,
    /// How many secrets sign each request; they are never shown.
    secret_count: usize,
    #[schema(value_type = NameView)]
    queue: String,
    /// What its jobs have where an enqueue says nothing; null: what is usual.
    priority: Option<i64>,
    timeout_s: Option<u64>,
    max_attempts: Option<i64>,
    #[schema(value_type = DeliveryView)]
    delivery: Delivery,
    /// The wait after a first failure; null: what is usual.
    retry_base_s: Option<u64>,
    /// Statuses beside 409 and 410 that give a job up.
    discard_status: BTreeSet<u16>,
    /// To be given with a change, so that nobody's change in between is lost.
    version: String,
    /// Why this server does not run it.
    trouble: Option<String>,
}

impl HandlerView {
    fn of(site: &Site, item: Item<Registration>) -> Self {
        let Item { key, value, version } = item;
        let name = Name::new("type", &key).map_err(|error| error.to_string());
        let ready = name.and_then(|name| value.ready(&name, site.handlers()));
        let (origin, trouble) = match ready {
            Ok(ready) => (Some(ready.target.origin().to_owned()), None),
            Err(why) => (None, Some(why)),
        };
        Self {
            job_type: key,
            url: value.url,
            origin,
            secret_count: value.secrets.len(),
            queue: value.queue,
            priority: value.priority,
            timeout_s: value.timeout_s,
            max_attempts: value.max_attempts,
            delivery: value.delivery,
            retry_base_s: value.retry_base_s,
            discard_status: value.discard_status,
            version: version.to_string(),
            trouble,
        }
    }
}

/// The push handlers that were registered over HTTP, in the order of their types.
#[derive(Serialize, ToSchema)]
pub(crate) struct Handlers {
    handlers: Vec<HandlerView>,
}

/// List the push handlers that were registered over HTTP, without their secrets. Those that
/// dutiful.toml declares are not among them.
#[utoipa::path(get, path = "/v1/handlers", tag = "handlers",
    responses((status = 200, body = Handlers)))]
pub(super) async fn list(
    _: Allowed<Admin>,
    State(site): State<Site>,
) -> Result<Json<Handlers>, Problem> {
    let all = handlers::all(site.client()).await?;
    let handlers = all.into_iter().map(|item| HandlerView::of(&site, item)).collect();
    Ok(Json(Handlers { handlers }))
}

/// The type in the path.
pub(super) struct TypeOf(Name);

impl FromRequestParts<Site> for TypeOf {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, site: &Site) -> Result<Self, Problem> {
        Ok(Self(foreign_type(&segment(parts, site).await?)?))
    }
}

/// The type of a handler.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code, reason = "it describes what `TypeOf` reads")]
struct TypePath {
    #[param(value_type = NameView)]
    r#type: String,
}

/// Show a push handler that was registered over HTTP, without its secrets.
#[utoipa::path(get, path = "/v1/handlers/{type}", tag = "handlers", params(TypePath),
    responses((status = 200, body = HandlerView)))]
pub(super) async fn show(
    _: Allowed<Admin>,
    State(site): State<Site>,
    TypeOf(name): TypeOf,
) -> Result<Json<HandlerView>, Problem> {
    let found = handlers::one(site.client(), &name).await?;
    Ok(Json(HandlerView::of(&site, found.ok_or_else(|| unknown(&name))?)))
}

fn unknown(name: &Name) -> Problem {
    Problem::not_found(format!("no handler of the type {name} is registered over HTTP"))
}

/// A push handler to register. It takes the place of what was registered before, but for its
/// secrets where none are given.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewHandler)]
pub(crate) struct HandlerInput {
    /// Where its jobs are sent: `https://host/path`.
    #[schema(min_length = 8, max_length = 2048)]
    url: String,
    /// Each signs every request: `whsec_` and 24 to 64 bytes in base64. Absent: those that are
    /// there are kept; an empty list: none.
    #[serde(default, deserialize_with = "hidden")]
    #[schema(value_type = Option<Vec<String>>, max_items = 8)]
    secrets: Option<Vec<String>>,
    /// The queue of its jobs (`default`, also in a change that leaves it out). Jobs that stand in
    /// the queue before stay there: they run only while another registration names that queue.
    #[schema(value_type = Option<NameView>)]
    queue: Option<String>,
    /// Lower runs first.
    #[schema(minimum = 0, maximum = 1000)]
    priority: Option<i64>,
    /// How long one attempt may run.
    #[schema(minimum = 1, maximum = 2592000)]
    timeout_s: Option<u64>,
    /// Failures after which a job is dead.
    #[schema(minimum = 1, maximum = 1000)]
    max_attempts: Option<i64>,
    #[schema(value_type = Option<DeliveryView>)]
    delivery: Option<Delivery>,
    /// The wait after a first failure; it doubles with each.
    #[schema(minimum = 1, maximum = 86400)]
    retry_base_s: Option<u64>,
    /// Statuses from 300 to 599 that give a job up, beside 409 and 410.
    #[serde(default)]
    #[schema(value_type = Vec<u16>, max_items = 300)]
    discard_status: BTreeSet<u16>,
    /// Only if this is the version that is there.
    version: Option<String>,
}

/// Reads secrets; what is wrong with one is said without repeating it.
fn hidden<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Vec<String>>, D::Error> {
    let values = match Value::deserialize(from)? {
        Value::Null => return Ok(None),
        Value::Array(values) => values,
        _ => return Err(D::Error::custom("secrets is a list of texts")),
    };
    let secret = |value: Value| {
        let text = value.as_str().unwrap_or_default();
        Secret::parse(text).map(|_| text.to_owned()).map_err(D::Error::custom)
    };
    values.into_iter().map(secret).collect::<Result<_, _>>().map(Some)
}

impl HandlerInput {
    /// Returns what is to be kept, with the secrets that are there where none are given.
    fn over(&self, before: Option<&Item<Registration>>) -> Registration {
        let there = || before.map(|item| item.value.secrets.clone());
        Registration {
            url: self.url.clone(),
            secrets: self.secrets.clone().or_else(there).unwrap_or_default(),
            queue: self.queue.clone().unwrap_or_else(|| "default".to_owned()),
            priority: self.priority,
            timeout_s: self.timeout_s,
            max_attempts: self.max_attempts,
            delivery: self.delivery.unwrap_or_default(),
            retry_base_s: self.retry_base_s,
            discard_status: self.discard_status.clone(),
        }
    }
}

/// Register a push handler, or change it. Every server on the store runs it within about a second;
/// this one has its settings for jobs when it answers, where it runs handlers.
#[utoipa::path(put, path = "/v1/handlers/{type}", tag = "handlers", params(TypePath),
    request_body = HandlerInput, responses(
    (status = 201, body = HandlerView, description = "It is registered"),
    (status = 200, body = HandlerView, description = "It was there and is changed"),
))]
pub(super) async fn set(
    caller: Allowed<Admin>,
    State(site): State<Site>,
    TypeOf(name): TypeOf,
    Body(input): Body<HandlerInput>,
) -> Result<(StatusCode, Json<HandlerView>), Problem> {
    if site.handlers().declares(&name) {
        let detail = format!(
            "this server declares a handler of the type {name} in dutiful.toml, and the file wins; \
             strike it there first"
        );
        return Err(Problem::new(StatusCode::CONFLICT, "declared", detail));
    }
    let no_version = |_| Problem::invalid("the version is not one that GET /v1/handlers told");
    let wanted = input.version.as_deref().map(str::parse).transpose().map_err(no_version)?;
    for _ in 0..TRIES {
        let before = handlers::one(site.client(), &name).await?;
        let is_new = before.is_none();
        let version = before.as_ref().map(|item| item.version);
        if wanted.is_some() && wanted != version {
            break;
        }
        let value = input.over(before.as_ref());
        let ready = value.ready(&name, site.handlers()).map_err(Problem::invalid)?;
        caller.detail(serde_json::json!({
            "origin": ready.target.origin(), "queue": value.queue, "secrets": value.secrets.len(),
        }));
        if is_new {
            has_room(&site).await?;
        }
        let kept = handlers::keep(site.client(), &name, &value, version).await?;
        if let Some(version) = kept {
            taken_up(&site, ready.defaults).await?;
            let item = Item { key: name.to_string(), value, version };
            let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
            return Ok((status, Json(HandlerView::of(&site, item))));
        }
    }
    let detail = format!("somebody changed the handler of {name} since; look at it again");
    Err(Problem::new(StatusCode::CONFLICT, "conflict", detail))
}

async fn has_room(site: &Site) -> Result<(), Problem> {
    match handlers::all(site.client()).await?.len() {
        0..HANDLERS_MAX => Ok(()),
        _ => Err(Problem::invalid(format!("there are {HANDLERS_MAX}; strike some first"))),
    }
}

/// Waits until the worker here has registered the settings, so that a job which is enqueued after
/// the answer goes to the queue that was just named and not to the one before.
async fn taken_up(site: &Site, wanted: TypeDefaults) -> Result<(), Problem> {
    site.handlers().changed();
    let by = Instant::now() + TAKEN_UP;
    while site.handlers().runs() && Instant::now() < by {
        let known = site.store().types(vec![wanted.job_type.clone()]).await?;
        if known.contains(&wanted) {
            break;
        }
        sleep(LOOK).await;
    }
    Ok(())
}

/// Strike a handler: what it runs may end, and its other jobs stay where they are until somebody
/// runs their type again.
#[utoipa::path(delete, path = "/v1/handlers/{type}", tag = "handlers", params(TypePath),
    responses((status = 204)))]
pub(super) async fn strike(
    _: Allowed<Admin>,
    State(site): State<Site>,
    TypeOf(name): TypeOf,
) -> Result<StatusCode, Problem> {
    if !handlers::strike(site.client(), &name).await? {
        return Err(unknown(&name));
    }
    site.handlers().changed();
    Ok(StatusCode::NO_CONTENT)
}
