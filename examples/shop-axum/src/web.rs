//! The web side: `POST /signup` stores a user together with the mail's job, `GET /jobs/{id}` tells
//! how far it is.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path as Segment, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use dutiful::{Client, JobId};
use rusqlite::{Connection, TransactionBehavior};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::mail::SendWelcome;

/// How long a request waits for its turn to write.
const WRITE_WAIT: Duration = Duration::from_secs(5);

/// What requests reach.
pub(crate) struct Shop {
    file: PathBuf,
    jobs: Client,
}

impl Shop {
    /// Opens the shop's tables in the file that the client has open, too.
    pub(crate) fn open(file: &Path, jobs: Client) -> rusqlite::Result<Arc<Self>> {
        let shop = Self { file: file.to_owned(), jobs };
        shop.connection()?.execute_batch(include_str!("../sql/schema.sql"))?;
        Ok(Arc::new(shop))
    }

    fn connection(&self) -> rusqlite::Result<Connection> {
        let conn = Connection::open(&self.file)?;
        conn.busy_timeout(WRITE_WAIT)?;
        Ok(conn)
    }

    /// Stores the user and the mail's job: both are there when this returns, or neither.
    fn sign_up(&self, email: String) -> Result<SignedUp, Refused> {
        let mut conn = self.connection()?;
        let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        tx.execute(include_str!("../sql/insert_user.sql"), [&email])?;
        let user = tx.last_insert_rowid();
        let mail = self.jobs.enqueue(SendWelcome { user, email }).within(&tx).now()?;
        tx.commit()?;
        Ok(SignedUp { user, mail: mail.id })
    }
}

#[derive(Deserialize)]
struct SignUp {
    email: String,
}

#[derive(Serialize)]
struct SignedUp {
    user: i64,
    mail: JobId,
}

/// Returns the routes.
pub(crate) fn routes(shop: Arc<Shop>) -> Router {
    Router::new()
        .route("/signup", post(sign_up))
        .route("/jobs/{id}", get(show_job))
        .with_state(shop)
}

/// Answers as soon as the user is stored; the mail goes out behind the request's back.
async fn sign_up(State(shop): State<Arc<Shop>>, Json(asked): Json<SignUp>) -> Answer {
    if !asked.email.contains('@') {
        return Err(Refused(StatusCode::BAD_REQUEST, "this is no address".into()));
    }
    // A transaction of SQLite blocks, so it runs on a thread that may.
    let stored = tokio::task::spawn_blocking(move || shop.sign_up(asked.email));
    let signed_up = stored.await.map_err(internal)??;
    Ok((StatusCode::ACCEPTED, Json(signed_up)).into_response())
}

/// Tells where the mail stands. The payload is not for strangers, so it is left out.
async fn show_job(State(shop): State<Arc<Shop>>, Segment(id): Segment<String>) -> Answer {
    let no_such = || Refused(StatusCode::NOT_FOUND, "there is no such job".into());
    let id: JobId = id.parse().map_err(|_| no_such())?;
    let job = shop.jobs.job(id).await.map_err(internal)?.ok_or_else(no_such)?;
    let (state, attempt) = (job.state, job.attempt);
    let (progress, result) = (job.progress, job.result);
    let shown =
        json!({ "state": state, "attempt": attempt, "progress": progress, "result": result });
    Ok(Json(shown).into_response())
}

type Answer = Result<Response, Refused>;

/// An answer that says no, and why.
struct Refused(StatusCode, String);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.0, Json(json!({ "error": self.1 }))).into_response()
    }
}

impl From<rusqlite::Error> for Refused {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::ConstraintViolation) => {
                Self(StatusCode::CONFLICT, "this address is signed up already".into())
            }
            _ => internal(error),
        }
    }
}

impl From<dutiful::Error> for Refused {
    fn from(error: dutiful::Error) -> Self {
        internal(error)
    }
}

/// Tells the operator what went wrong, and the stranger no more than that something did.
#[expect(clippy::print_stderr, reason = "the example's log is its standard error")]
fn internal(error: impl std::fmt::Display) -> Refused {
    eprintln!("a request failed: {error}");
    Refused(StatusCode::INTERNAL_SERVER_ERROR, "this did not work, try again later".into())
}
