//! Alerts: what fires, who knows of it, and the rules with their thresholds.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Site;
use super::access::{Allowed, Operate, Read};
use super::input::{Body, segment};
use super::problem::Problem;
use crate::alerts::{AcknowledgeError, Alert, Alerts, Rule, RuleChange, RuleChanges, RuleView};

/// List alerts: firing ones first, then those whose condition has to hold on, then the resolved
/// ones of the last day.
#[utoipa::path(get, path = "/v1/alerts", tag = "alerts",
    responses((status = 200, body = Alerts)))]
pub(super) async fn list(
    _: Allowed<Read>,
    State(site): State<Site>,
) -> Result<Json<Alerts>, Problem> {
    Ok(Json(site.board().alerts().await?))
}

/// The id of an alert in the path.
pub(super) struct AlertOf(String);

impl FromRequestParts<Site> for AlertOf {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, site: &Site) -> Result<Self, Problem> {
        Ok(Self(segment(parts, site).await?))
    }
}

/// The id of an alert.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code, reason = "it describes what `AlertOf` reads")]
struct AlertPath {
    /// Its rule, and after a colon its queue.
    id: String,
}

/// Say that you know of a firing alert. Dead jobs are no alert any more until others die.
#[utoipa::path(post, path = "/v1/alerts/{id}/acknowledge", tag = "alerts", params(AlertPath),
    responses((status = 200, body = Alert)))]
pub(super) async fn acknowledge(
    caller: Allowed<Operate>,
    State(site): State<Site>,
    AlertOf(id): AlertOf,
) -> Result<Json<Alert>, Problem> {
    Ok(Json(site.board().heard(&id, None, caller.actor()).await?))
}

impl From<AcknowledgeError> for Problem {
    fn from(error: AcknowledgeError) -> Self {
        let detail = format!("failed to {error}");
        match error {
            AcknowledgeError::Store(error) => error.into(),
            AcknowledgeError::Unknown(_) => Self::not_found(detail),
            AcknowledgeError::NotFiring { .. } => {
                Self::new(StatusCode::CONFLICT, "wrong_state", detail)
            }
        }
    }
}

/// The rules as they are set, and what of that is kept in the store.
#[derive(Serialize, ToSchema)]
pub(crate) struct Rules {
    /// Every rule, and after these what is otherwise for single queues.
    rules: Vec<RuleView>,
    /// What was put here; it wins over dutiful.toml.
    kept: RuleChanges,
    /// To be given with a change, so that nobody's change in between is lost; null at first.
    version: Option<String>,
}

/// What is to be otherwise about the rules. It takes the place of all that was put before.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RulesInput {
    /// By rule.
    #[serde(deserialize_with = "by_rule")]
    rules: BTreeMap<Rule, RuleChange>,
    /// By queue and rule.
    #[serde(deserialize_with = "by_queue")]
    queues: BTreeMap<String, BTreeMap<Rule, RuleChange>>,
    /// Only if this is the version that is kept.
    version: Option<String>,
}

/// An object, and no list: serde would read one as the values of a change without their names.
type Object = serde_json::Map<String, serde_json::Value>;

fn changes<E: serde::de::Error>(
    given: BTreeMap<Rule, Object>,
) -> Result<BTreeMap<Rule, RuleChange>, E> {
    let change = |(rule, one): (Rule, Object)| {
        Ok((rule, serde_json::from_value(one.into()).map_err(E::custom)?))
    };
    given.into_iter().map(change).collect()
}

fn by_rule<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<Rule, RuleChange>, D::Error> {
    changes(Deserialize::deserialize(from)?)
}

fn by_queue<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<BTreeMap<String, BTreeMap<Rule, RuleChange>>, D::Error> {
    let given = BTreeMap::<String, _>::deserialize(from)?;
    given.into_iter().map(|(queue, rules)| Ok((queue, changes(rules)?))).collect()
}

/// Show the rules with their thresholds.
#[utoipa::path(get, path = "/v1/alerts/rules", tag = "alerts",
    responses((status = 200, body = Rules)))]
pub(super) async fn rules(
    _: Allowed<Read>,
    State(site): State<Site>,
) -> Result<Json<Rules>, Problem> {
    Ok(Json(shown(&site).await?))
}

async fn shown(site: &Site) -> Result<Rules, Problem> {
    let (set, version) = site.board().rules().await?;
    let version = version.map(|version| version.to_string());
    Ok(Rules { rules: set.views(), kept: set.kept, version })
}

/// Change rules: what is put here takes the place of what was put before, and wins over
/// dutiful.toml. An empty object leaves what dutiful.toml says.
#[utoipa::path(put, path = "/v1/alerts/rules", tag = "alerts", request_body = RulesInput,
    responses((status = 200, body = Rules)))]
pub(super) async fn set_rules(
    caller: Allowed<Operate>,
    State(site): State<Site>,
    Body(input): Body<RulesInput>,
) -> Result<Json<Rules>, Problem> {
    let RulesInput { rules, queues, version } = input;
    let changes = RuleChanges { rules, queues };
    changes.check().map_err(Problem::invalid)?;
    caller.detail(serde_json::json!(changes));
    let no_version = |_| Problem::invalid("the version is not one that GET /v1/alerts/rules told");
    let version = version.map(|text| text.parse().map_err(no_version)).transpose()?;
    if !site.board().set_rules(&changes, version).await? {
        let detail = "somebody changed the rules since; look at them again";
        return Err(Problem::new(StatusCode::CONFLICT, "conflict", detail));
    }
    Ok(Json(shown(&site).await?))
}
