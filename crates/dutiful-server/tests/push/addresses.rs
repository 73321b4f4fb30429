//! Where requests go: to addresses that were checked, and nowhere else.

use std::collections::VecDeque;
use std::net::IpAddr;

use dutiful_server::push::{Resolved, Resolver};

use super::*;

/// An address of the world that nobody has, so that nothing that is sent there arrives.
const WORLD: &str = "2000::1";

/// Answers with each of these in turn, the last again and again, and counts how often.
#[derive(Clone)]
struct Turns {
    answers: Arc<Mutex<VecDeque<Vec<IpAddr>>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Turns {
    fn new(answers: &[&[&str]]) -> Self {
        let parse = |ips: &&[&str]| ips.iter().map(|ip| ip.parse().unwrap()).collect();
        let answers = Arc::new(Mutex::new(answers.iter().map(parse).collect()));
        Self { answers, asked: Arc::default() }
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

impl Resolver for Turns {
    fn resolve(&self, host: &str) -> Resolved {
        self.asked.lock().unwrap().push(host.to_owned());
        let mut answers = self.answers.lock().unwrap();
        let answer = match answers.len() {
            1 => answers[0].clone(),
            _ => answers.pop_front().unwrap(),
        };
        Box::pin(async move { Ok(answer) })
    }
}

/// A socket of this machine to which nobody may connect.
struct Forbidden(std::net::TcpListener);

impl Forbidden {
    fn new() -> Self {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        Self(socket)
    }

    fn url(&self) -> String {
        format!("http://rebind.example:{}/", self.0.local_addr().unwrap().port())
    }

    fn assert_untouched(&self) {
        let error = self.0.accept().expect_err("somebody connected");
        assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
    }
}

#[tokio::test]
async fn a_name_that_flips_to_this_machine_is_never_connected_to() {
    let forbidden = Forbidden::new();
    let turns = Turns::new(&[&[WORLD], &["127.0.0.1"]]);
    let push = Push::new().resolver(turns.clone());
    let target = push.target(TargetSettings::new(forbidden.url())).unwrap();
    let mut site = Site::working(target).await;
    // What was checked is what is connected to: were the name resolved again in between, this
    // attempt would come to the socket.
    site.job("1").timeout(Duration::from_millis(300)).await.unwrap();
    let came = site.next().await;
    assert!(["connect", "timeout"].contains(&came.class()), "{came:?}");
    assert_eq!(turns.asked(), 1);
    let (_, came) = site.run("1").await;
    assert_eq!((came.class(), turns.asked()), ("address", 2));
    assert!(came.message().contains("rebind.example leads to 127.0.0.1"), "{came:?}");
    forbidden.assert_untouched();
}

#[tokio::test]
async fn every_address_of_a_name_is_checked() {
    for ips in [
        &[WORLD, "127.0.0.1"][..],
        &["127.0.0.1", WORLD],
        &["::ffff:127.0.0.1"],
        &["64:ff9b::7f00:1"],
        &["10.0.0.1"],
        &["fd00::1"],
        &["0.0.0.0"],
        &["169.254.169.254"],
    ] {
        let forbidden = Forbidden::new();
        let push = Push::new().resolver(Turns::new(&[ips]));
        let target = push.target(TargetSettings::new(forbidden.url())).unwrap();
        let (_, came) = Site::working(target).await.run("1").await;
        assert_eq!(came.class(), "address", "{ips:?}");
        forbidden.assert_untouched();
    }
}

#[tokio::test]
async fn metadata_of_clouds_is_refused_even_to_who_may_call_private_addresses() {
    for ip in ["169.254.169.254", "fd00:ec2::254", "::ffff:a9fe:a9fe"] {
        let push = Push::new().resolver(Turns::new(&[&[ip]]));
        let (_, came) = Site::working(target(&push, "http://a.example/")).await.run("1").await;
        assert_eq!(came.class(), "address", "{ip}");
    }
}

#[tokio::test]
async fn a_private_name_is_called_where_the_handler_says_so() {
    let service = Service::answering(|_| "").await;
    let port = service.address.port();
    let push = Push::new().resolver(Turns::new(&[&["127.0.0.1"]]));
    let target = target(&push, &format!("http://shop.internal:{port}/"));
    assert_eq!(Site::working(target).await.run("1").await.1, Came::Completed);
    assert_eq!(service.seen()[0].header("host"), format!("shop.internal:{port}"));
}

#[tokio::test]
async fn no_redirect_is_followed() {
    let forbidden = Forbidden::new();
    let place = format!("http://{}/", forbidden.0.local_addr().unwrap());
    let service = Service::answering(move |number| {
        let status = [301, 302, 303, 307, 308][number];
        let mut redirect = answer(status, &[("location", "http://169.254.169.254/latest/")], "");
        if number > 1 {
            redirect.headers_mut().insert("location", place.parse().unwrap());
        }
        redirect
    })
    .await;
    let mut site = Site::working(service.target()).await;
    for status in [301, 302, 303, 307, 308] {
        let (_, came) = site.run("1").await;
        assert_eq!(came.class(), format!("http_{status}"));
        assert!(came.message().contains("nothing is followed"), "{came:?}");
    }
    assert_eq!(service.seen().len(), 5);
    forbidden.assert_untouched();
}
