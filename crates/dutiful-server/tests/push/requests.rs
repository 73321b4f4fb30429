//! What is sent: the payload as it was stored, what is known of the job, signatures.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dutiful_server::push::{Push, Secret, TargetSettings};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::*;

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const KEYS: [&str; 2] = ["MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "C2FVsBQIhrscChlQIMV+b5sSYspob7oD"];

#[tokio::test]
async fn sends_the_payload_as_stored_and_what_is_known_of_the_job() {
    let service = Service::answering(|_| "").await;
    let mut site = Site::working(service.target()).await;
    let payload = "{ \"n\" : 1.00000000000000000001, \"ü\":\"\\u00fc\" }";
    let job = site.job(payload).max_attempts(7).correlation_id("order 7\r\nx-evil: 1 é");
    let id = job.trace_parent(PARENT).await.unwrap().id;
    assert_eq!(site.next().await, Came::Completed);
    let seen = &service.seen()[0];
    assert_eq!(seen.body, payload);
    assert_eq!((&seen.method, seen.uri.to_string()), (&Method::POST, "/jobs?via=test".into()));
    let id = id.to_string();
    for (name, value) in [
        ("content-type", "application/json"),
        ("dutiful-job-id", id.as_str()),
        ("dutiful-job-type", "t"),
        ("dutiful-queue", "default"),
        ("dutiful-attempt", "1"),
        ("dutiful-max-attempts", "7"),
        ("dutiful-correlation-id", "order%207%0D%0Ax-evil:%201%20%C3%A9"),
        ("idempotency-key", id.as_str()),
    ] {
        assert_eq!(seen.header(name), value, "{name}");
    }
    assert_eq!(seen.header("traceparent").get(..35), PARENT.get(..35), "the trace goes on");
    assert!(seen.header("user-agent").starts_with("dutiful/"));
    for absent in ["x-evil", "cookie", "referer", "authorization", "webhook-signature"] {
        assert!(!seen.headers.contains_key(absent), "{absent}");
    }
}

#[tokio::test]
async fn signs_each_request_with_every_secret() {
    let service = Service::answering(|_| "").await;
    let secrets = KEYS.map(|key| Secret::parse(&format!("whsec_{key}")).unwrap()).to_vec();
    let settings = TargetSettings { secrets, ..private(&service.url()) };
    let mut site = Site::working(Push::new().target(settings).unwrap()).await;
    let (job, came) = site.run("{\"a\": 1}").await;
    assert_eq!(came, Came::Completed);
    let seen = &service.seen()[0];
    let (id, at) = (seen.header("webhook-id"), seen.header("webhook-timestamp"));
    assert_eq!(id, job.id.to_string(), "the same in every attempt, so that repeats are known");
    let sent_at = dutiful::Timestamp::from_us(at.parse::<i64>().unwrap() * 1_000_000);
    assert!(dutiful::Clock::machine().now().since(sent_at) < PATIENCE, "{at}");
    let wanted = KEYS.map(|key| {
        let mut mac = Hmac::<Sha256>::new_from_slice(&STANDARD.decode(key).unwrap()).unwrap();
        mac.update(format!("{id}.{at}.{{\"a\": 1}}").as_bytes());
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    });
    assert_eq!(seen.header("webhook-signature"), wanted.join(" "));
}

#[tokio::test]
async fn reuses_a_connection_for_job_after_job() {
    let service = Service::answering(|number| number.to_string()).await;
    let mut site = Site::working(service.target()).await;
    for _ in 0..5 {
        assert_eq!(site.run("1").await.1, Came::Completed);
    }
    let seen = service.seen();
    assert_eq!(seen.len(), 5);
    assert!(seen.iter().all(|one| one.from == seen[0].from), "{seen:?}");
}
