//! The HTTP API: each route with the scope that it needs in its type, and its description, from
//! which `/openapi.json` is made.

pub(crate) mod access;
mod alerts;
mod attempts;
mod audit;
mod claim;
pub(crate) mod dead;
mod enqueue;
mod fence;
mod filter;
mod finish;
mod guard;
mod handlers;
mod history;
mod input;
mod jobs;
mod leases;
mod numbers;
pub(crate) mod operations;
mod problem;
mod queues;
mod session;
mod tokens;
mod totals;
mod view;
mod workers;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use dutiful::store::{Store, WorkerCard};
use dutiful::{
    Client, QueueInfo, Stats, Timestamp, TypeDefaults, WorkerId, WorkerInfo, WorkerState,
};
use tokio_util::sync::CancellationToken;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::attempts::Attempts;
use crate::access::Gate;
use crate::alerts::Board;
use crate::handlers::HandlerOptions;
use crate::labels::lock;
use crate::look::Look;
use crate::options::Options;
use crate::redact::Redaction;

pub(crate) use self::guard::guarded;
pub(crate) use self::problem::Problem;

/// Largest body in bytes, of one job and of many.
const BODY_MAX: usize = 1024 * 1024;
const BODIES_MAX: usize = 8 * 1024 * 1024;
/// Longest wait for the store's numbers.
const STATS_MAX: Duration = Duration::from_secs(5);
/// Workers that are remembered; others are looked up in the store.
const CARDS_MAX: usize = 10_000;

/// What every route is given.
#[derive(Clone)]
pub(crate) struct Site(Arc<Inner>);

struct Inner {
    look: Arc<Look>,
    board: Arc<Board>,
    gate: Gate,
    redaction: Redaction,
    handlers: HandlerOptions,
    attempts: Attempts,
    groups: dead::Groups,
    cards: Mutex<HashMap<WorkerId, Arc<WorkerCard>>>,
    /// Whose turn it is to number lines of a log.
    logging: tokio::sync::Mutex<()>,
    /// Whose turn it is to look at the store's health, which may read much of it.
    looking: tokio::sync::Mutex<()>,
    stopping: CancellationToken,
}

impl Site {
    pub(crate) fn new(
        look: Arc<Look>,
        board: Arc<Board>,
        options: Options,
        stopping: CancellationToken,
    ) -> Self {
        let (attempts, cards) = (Attempts::default(), Mutex::default());
        let (logging, looking) = Default::default();
        let gate = Gate::new(look.client().clone(), options.access);
        let redaction = Redaction::new(&options.redact);
        Self(Arc::new(Inner {
            look,
            board,
            gate,
            redaction,
            handlers: options.handlers,
            attempts,
            groups: dead::Groups::default(),
            cards,
            logging,
            looking,
            stopping,
        }))
    }

    fn client(&self) -> &Client {
        self.0.look.client()
    }

    pub(crate) fn gate(&self) -> &Gate {
        &self.0.gate
    }

    fn redaction(&self) -> &Redaction {
        &self.0.redaction
    }

    fn handlers(&self) -> &HandlerOptions {
        &self.0.handlers
    }

    fn store(&self) -> &Arc<dyn Store> {
        self.client().store()
    }

    fn attempts(&self) -> &Attempts {
        &self.0.attempts
    }

    /// The store's numbers: half a second old at most, or some seconds where millions wait.
    async fn stats(&self) -> Result<Arc<Stats>, Problem> {
        let unavailable = |why| {
            let status = axum::http::StatusCode::SERVICE_UNAVAILABLE;
            Problem::new(status, "store_unavailable", why)
        };
        self.0.look.shown(STATS_MAX).await.map_err(unavailable)
    }

    /// A request changed something.
    fn changed(&self) {
        self.0.look.changed();
        self.0.groups.changed();
    }

    /// An operator changed something, and will look at it.
    fn see_anew(&self) {
        self.0.look.forget();
        self.0.groups.forget();
    }

    fn groups(&self) -> &dead::Groups {
        &self.0.groups
    }

    /// All queues as they are now, or, where millions wait, as they were some seconds ago.
    async fn queues(&self) -> Result<Vec<QueueInfo>, Problem> {
        match self.0.look.is_slow() {
            true => Ok(self.stats().await?.queues.clone()),
            false => Ok(self.client().queues().await?),
        }
    }

    fn board(&self) -> &Board {
        &self.0.board
    }

    /// The time here.
    fn now(&self) -> Result<Timestamp, Problem> {
        Ok(Timestamp::from_system(SystemTime::now())?)
    }

    /// Resolves when the server is told to stop: whoever waits for something is answered.
    async fn stopping(&self) {
        self.0.stopping.cancelled().await;
    }

    async fn logging(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.0.logging.lock().await
    }

    async fn looking(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.0.looking.lock().await
    }

    fn know(&self, card: Arc<WorkerCard>) {
        let mut cards = lock(&self.0.cards);
        if cards.len() >= CARDS_MAX {
            cards.clear();
        }
        cards.insert(card.worker, card);
    }

    fn forget(&self, worker: WorkerId) {
        lock(&self.0.cards).remove(&worker);
    }

    /// Returns what a worker registered, here or at another server.
    async fn card(&self, worker: WorkerId) -> Result<Arc<WorkerCard>, Problem> {
        if let Some(card) = lock(&self.0.cards).get(&worker) {
            return Ok(card.clone());
        }
        let workers = self.client().workers().await?;
        let goes_on = |one: &WorkerInfo| one.id == worker && one.state != WorkerState::Stopped;
        let found = workers.into_iter().find(goes_on);
        let unknown =
            || Problem::not_found("no worker has this id; register with POST /v1/workers");
        let info = found.ok_or_else(unknown)?;
        let card = Arc::new(WorkerCard {
            worker,
            name: info.name,
            pid: info.pid,
            queues: info.queues.into_iter().collect(),
            types: info.types.into_iter().map(TypeDefaults::unknown).collect(),
            quiet: info.quiet,
        });
        self.know(card.clone());
        Ok(card)
    }
}

/// Returns the routes below `/v1` and their description.
pub(crate) fn routes(site: Site) -> (Router, OpenApi) {
    let one = OpenApiRouter::with_openapi(description())
        .routes(routes!(enqueue::enqueue, jobs::list))
        .routes(routes!(jobs::show, jobs::delete))
        .routes(routes!(jobs::result))
        .routes(routes!(jobs::cancel))
        .routes(routes!(jobs::retry))
        .routes(routes!(jobs::discard))
        .routes(routes!(jobs::reschedule))
        .routes(routes!(jobs::edit))
        .routes(routes!(jobs::change_many))
        .routes(routes!(operations::start))
        .routes(routes!(operations::preview))
        .routes(routes!(operations::show))
        .routes(routes!(queues::list))
        .routes(routes!(queues::show))
        .routes(routes!(queues::pause))
        .routes(routes!(queues::resume))
        .routes(routes!(queues::clear))
        .routes(routes!(queues::backlog))
        .routes(routes!(dead::groups))
        .routes(routes!(numbers::stats))
        .routes(routes!(totals::totals))
        .routes(routes!(numbers::doctor))
        .routes(routes!(numbers::info))
        .routes(routes!(numbers::events))
        .routes(routes!(session::show, session::begin, session::end))
        .routes(routes!(tokens::list, tokens::create))
        .routes(routes!(tokens::revoke))
        .routes(routes!(handlers::list))
        .routes(routes!(handlers::show, handlers::set, handlers::strike))
        .routes(routes!(audit::list))
        .routes(routes!(history::history))
        .routes(routes!(alerts::list))
        .routes(routes!(alerts::acknowledge))
        .routes(routes!(alerts::rules, alerts::set_rules))
        .routes(routes!(workers::list, workers::register))
        .routes(routes!(workers::leave))
        .routes(routes!(claim::claim))
        .routes(routes!(workers::extend))
        .routes(routes!(leases::complete))
        .routes(routes!(leases::fail))
        .routes(routes!(leases::snooze))
        .routes(routes!(leases::release))
        .routes(routes!(leases::extend))
        .routes(routes!(leases::progress))
        .routes(routes!(leases::log))
        .layer(DefaultBodyLimit::max(BODY_MAX));
    let many = OpenApiRouter::new()
        .routes(routes!(enqueue::enqueue_batch))
        .routes(routes!(finish::finish))
        .layer(DefaultBodyLimit::max(BODIES_MAX));
    let audit = from_fn_with_state(site.clone(), access::audited);
    let whole = one.merge(many).route_layer(audit);
    let (router, mut api) = whole.with_state(site).split_for_parts();
    describe_problems(&mut api);
    (router, api)
}

fn description() -> OpenApi {
    use utoipa::openapi::{InfoBuilder, LicenseBuilder, OpenApiBuilder};
    let info = InfoBuilder::new()
        .title("Dutiful")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "Background jobs over HTTP: enqueue, watch, operate, and work in any language.",
        ))
        .license(Some(LicenseBuilder::new().name("MIT OR Apache-2.0").build()));
    OpenApiBuilder::new().info(info.build()).build()
}

/// Every route can answer with a problem; that is said once.
fn describe_problems(api: &mut OpenApi) {
    use utoipa::openapi::{ContentBuilder, Ref, ResponseBuilder};
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    let problem = ResponseBuilder::new()
        .description("What went wrong, and what to do")
        .content("application/problem+json", content)
        .build();
    for path in api.paths.paths.values_mut() {
        let operations =
            [&mut path.get, &mut path.post, &mut path.delete, &mut path.put, &mut path.patch];
        for operation in operations.into_iter().flatten() {
            operation.responses.responses.insert("default".into(), problem.clone().into());
        }
    }
    let (name, schema) = (
        <Problem as utoipa::ToSchema>::name().into_owned(),
        <Problem as utoipa::PartialSchema>::schema(),
    );
    api.components.get_or_insert_default().schemas.insert(name, schema);
}
