//! What each answer comes to, and what no answer does.

use axum::body::Body;
use dutiful::{RESULT_BYTES_MAX, State};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

#[tokio::test]
async fn keeps_a_json_answer_as_the_result_byte_for_byte() {
    let bodies = ["{\"n\" : 1.00000000000000000001}", "", "done", "{\"cut\":"];
    let service = Service::answering(move |number| answer(200, &[], bodies[number])).await;
    let mut site = Site::working(service.target()).await;
    for result in [Some(bodies[0]), None, None, None] {
        let (job, came) = site.run("1").await;
        assert_eq!((job.state, came), (State::Completed, Came::Completed));
        assert_eq!(job.result.as_ref().map(|json| json.get()), result);
    }
}

#[tokio::test]
async fn gives_up_at_conflict_gone_and_what_the_handler_names() {
    let service =
        Service::answering(|number| answer([409, 410, 422, 404][number], &[], "no")).await;
    let settings = TargetSettings { discard_status: vec![422], ..private(&service.url()) };
    let mut site = Site::working(Push::new().target(settings).unwrap()).await;
    for status in [409, 410, 422] {
        let (job, came) = site.run("1").await;
        assert_eq!(job.state, State::Dead);
        assert!(matches!(came, Came::Dead { .. }), "{came:?}");
        assert_eq!(came.class(), format!("http_{status}"));
    }
    let (job, came) = site.run("1").await;
    assert_eq!((job.state, came.class()), (State::Failed, "http_404"));
}

#[tokio::test]
async fn tries_again_when_the_answer_asks_to() {
    let service = Service::answering(|number| match number {
        0 => answer(429, &[("retry-after", "120")], ""),
        1 => answer(503, &[("retry-after", "9999999")], ""),
        2 => answer(503, &[("retry-after", "Thu, 01 Jan 1970 00:00:00 GMT")], ""),
        _ => answer(500, &[("retry-after", "120")], "the database is away"),
    })
    .await;
    let mut site = Site::working(service.target()).await;
    let again = |came: &Came| match came {
        Came::Failed { again, .. } => *again,
        _ => panic!("{came:?}"),
    };
    let (job, came) = site.run("1").await;
    assert_eq!((again(&came), job.failures), (Duration::from_secs(120), 1), "it is charged");
    let (_, came) = site.run("1").await;
    assert_eq!(again(&came), Duration::from_secs(24 * 3600));
    let (_, came) = site.run("1").await;
    assert!(again(&came) < Duration::from_secs(2), "{came:?}");
    // The third job is due again, and the service says nothing of it but 500.
    let (_, came) = site.run("1").await;
    assert_eq!(again(&came), LONG, "by the policy of its type");
    assert_eq!(came.class(), "http_500");
    assert!(came.message().ends_with("500 Internal Server Error: the database is away"));
    assert!(!came.message().contains("via=test"), "{came:?}");
}

#[tokio::test]
async fn a_service_that_does_not_answer_in_time_fails_the_attempt() {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/?token=hidden", socket.local_addr().unwrap());
    let mut site = Site::working(target(&Push::new(), &url)).await;
    site.job("1").timeout(Duration::from_millis(200)).await.unwrap();
    let came = site.next().await;
    assert_eq!(came.class(), "timeout");
    assert!(
        came.message().contains("did not answer within the job's timeout of 200ms"),
        "{came:?}"
    );
    assert!(came.message().contains("127.0.0.1") && !came.message().contains("hidden"), "{came:?}");
}

#[tokio::test]
async fn a_service_that_is_away_fails_the_attempt() {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/?token=hidden", socket.local_addr().unwrap());
    drop(socket);
    let mut site = Site::working(target(&Push::new(), &url)).await;
    let (_, came) = site.run("1").await;
    assert_eq!(came.class(), "connect");
    assert!(came.message().contains("refused") && !came.message().contains("hidden"), "{came:?}");
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_none() {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = socket.accept().await {
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            let cut = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"a\":1}";
            let _ = stream.write_all(cut).await;
        }
    });
    let mut site = Site::working(target(&Push::new(), &format!("http://{address}/"))).await;
    let (job, came) = site.run("1").await;
    assert_eq!((came.class(), job.result.is_none()), ("no_answer", true));
}

#[tokio::test]
async fn a_large_answer_is_done_without_a_result() {
    let service = Service::answering(|number| {
        let bytes = RESULT_BYTES_MAX - 2 + usize::from(number > 0);
        format!("\"{}\"", "x".repeat(bytes))
    })
    .await;
    let mut site = Site::working(service.target()).await;
    let (job, _) = site.run("1").await;
    assert_eq!(job.result.unwrap().get().len(), RESULT_BYTES_MAX);
    let (job, came) = site.run("1").await;
    assert_eq!((came, job.result.is_none()), (Came::Completed, true));
    let log = &job.attempts[0].log;
    assert!(log.iter().any(|line| line.text.contains("not kept as the result")), "{log:?}");
}

#[tokio::test]
async fn an_answer_without_end_is_cut_off() {
    let service = Service::answering(|_| {
        let piece = || std::future::ready(Some((Ok::<_, std::io::Error>(vec![b'x'; 65536]), ())));
        Body::from_stream(futures_util::stream::unfold((), move |()| piece()))
    })
    .await;
    let mut site = Site::working(service.target()).await;
    let (job, came) = site.run("1").await;
    assert_eq!((came, job.result.is_none()), (Came::Completed, true));
}
