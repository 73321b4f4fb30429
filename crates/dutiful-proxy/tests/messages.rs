//! Faults that know messages: cuts beside each of them, and connections picked by what they say.
#![allow(dead_code, reason = "each program of tests uses another part of the server")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod server;

use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::time::Duration;

use dutiful_proxy::{Each, End, Fault, Proxy, Side, Way, Which};
use server::{
    Server, answer, connect, is_silent, read_exactly, read_out, startup, typed, wait_for,
};

const SSL_REQUEST: u32 = 80_877_103;
const PROTOCOL_3: u32 = 196_608;

/// How a client divides what it says into writes.
const STRIDES: [usize; 3] = [1, 7, usize::MAX];

fn query(text: &str) -> Vec<u8> {
    typed(b'Q', format!("{text}\0").as_bytes())
}

/// A client that has begun its session; three messages have come back.
fn session(proxy: &Proxy, name: &str) -> TcpStream {
    let mut client = connect(proxy.addr());
    let body = format!("application_name\0{name}\0\0");
    client.write_all(&startup(PROTOCOL_3, body.as_bytes())).unwrap();
    assert_eq!(read_exactly(&mut client, answer().len()), answer());
    client
}

fn ask(client: &mut TcpStream, text: &str) {
    client.write_all(&query(text)).unwrap();
    assert_eq!(read_exactly(client, answer().len()), answer());
}

fn script() -> Vec<Vec<u8>> {
    let parse = typed(b'P', b"one\0BEGIN\0\0\0");
    vec![startup(PROTOCOL_3, b"user\0me\0\0"), query("one"), parse, typed(b'S', b""), query("")]
}

/// Says the script in strides until an error, then hears the answers out. A reset is told once, to
/// the call that meets it first.
fn run(proxy: &Proxy, stride: usize) -> (Vec<u8>, Result<(), ErrorKind>) {
    let mut client = connect(proxy.addr());
    let said = script().concat();
    let wrote = said.chunks(stride.min(said.len())).try_for_each(|part| client.write_all(part));
    let (heard, end) = read_out(&mut client);
    (heard, wrote.map_err(|error| error.kind()).and(end))
}

#[test]
fn cuts_before_and_after_every_message_each_way() {
    let said = script();
    let answers: Vec<_> =
        said.iter().flat_map(|_| [typed(b'C', b"DONE\0"), typed(b'Z', b"I")]).collect();
    for (way, messages) in [(Way::ToServer, &said), (Way::ToClient, &answers)] {
        for (k, side) in (1..=messages.len()).flat_map(|k| [(k, Side::Before), (k, Side::After)]) {
            for stride in STRIDES {
                let server = Server::postgres();
                let proxy = Proxy::start(server.addr, 1).unwrap();
                let fault = Fault::CutAtMessage { way, k: k as u64, side };
                proxy.on_new(Which::next(0), fault);
                let (heard, end) = run(&proxy, stride);
                let passed = if side == Side::Before { k - 1 } else { k };
                let expected = messages[..passed].concat();
                if way == Way::ToServer {
                    assert_eq!(server.ended(0).bytes, expected, "{k} {side:?} {stride}");
                    let broken = [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
                    assert!(end.is_err_and(|kind| broken.contains(&kind)), "{k} {side:?} {stride}");
                } else {
                    assert_eq!(heard, expected, "{k} {side:?} {stride}");
                    assert_eq!(end, Ok(()), "{k} {side:?} {stride}");
                }
                assert_eq!(*proxy.messages(0).of(way), passed as u64);
                assert_eq!(proxy.connections()[0].end, Some(End::Cut(way)));
            }
        }
    }
}

#[test]
fn counts_messages_however_they_are_divided() {
    for stride in STRIDES {
        let server = Server::postgres();
        let proxy = Proxy::start(server.addr, 1).unwrap();
        let mut client = connect(proxy.addr());
        client.write_all(&startup(SSL_REQUEST, b"")).unwrap();
        assert_eq!(read_exactly(&mut client, 1), b"N");
        let said = script().concat();
        for part in said.chunks(stride.min(said.len())) {
            client.write_all(part).unwrap();
        }
        read_exactly(&mut client, 5 * answer().len());
        assert_eq!(proxy.messages(0), Each { to_server: 6, to_client: 11 });
        let bytes = Each { to_server: 8 + said.len() as u64, to_client: 1 + 5 * 16 };
        assert_eq!(proxy.connections()[0].bytes, bytes);
        assert!(!proxy.connections()[0].opaque);
    }
}

#[test]
fn swallows_only_whoever_says_a_text_from_that_message_on() {
    let server = Server::postgres();
    let proxy = Proxy::start(server.addr, 1).unwrap();
    let mut early = session(&proxy, "early");
    let hole = Fault::Blackhole { ways: Way::BOTH, reads: true };
    assert_eq!(proxy.on_all(Which::sent("LISTEN"), hole), 0);
    let (mut other, mut late) = (session(&proxy, "other"), session(&proxy, "late"));
    ask(&mut late, "one");
    for (client, index) in [(&mut early, 0), (&mut late, 2)] {
        let before = server.heard()[index].bytes.clone();
        let listen = query("LISTEN a");
        let (front, back) = listen.split_at(9);
        client.write_all(front).unwrap();
        // The proxy has one thread: it has read the front when this has come through.
        ask(&mut other, "one");
        client.write_all(back).unwrap();
        assert!(is_silent(client));
        assert_eq!(server.heard()[index].bytes, before);
    }
    ask(&mut other, "two");
}

#[test]
fn strikes_open_connections_by_what_they_said_long_ago() {
    let server = Server::postgres();
    let proxy = Proxy::start(server.addr, 1).unwrap();
    let (mut listener, mut other) = (session(&proxy, "mail"), session(&proxy, "other"));
    ask(&mut listener, "LISTEN a");
    ask(&mut listener, "one");
    ask(&mut other, "one");
    assert_eq!(proxy.kill(Which::sent("LISTEN")), 1);
    assert_eq!(read_out(&mut listener).1, Err(ErrorKind::ConnectionReset));
    ask(&mut other, "two");
    assert_eq!(proxy.kill(Which::sent("application_name\0other")), 1);
}

#[test]
fn loses_a_commit_or_its_answer_once() {
    for (way, arrives) in [(Way::ToServer, false), (Way::ToClient, true)] {
        let server = Server::postgres();
        let proxy = Proxy::start(server.addr, 1).unwrap();
        let cut = Fault::CutAtMessage { way, k: 1, side: Side::Before };
        // Late, so that the answer to what stands before comes in between.
        let (base, jitter) = (Duration::from_millis(50), Duration::ZERO);
        let late = Fault::Delay { ways: &[Way::ToServer], base, jitter };
        proxy.on_new(Which::sent("COMMIT").once(), cut);
        proxy.on_new(Which::sent("COMMIT").once(), late);
        let mut client = session(&proxy, "a");
        ask(&mut client, "BEGIN");
        // Both in one write: what stands before the message is not its concern.
        client.write_all(&[query("one"), query("COMMIT")].concat()).unwrap();
        let (heard, _) = read_out(&mut client);
        let said = server.ended(0).bytes;
        assert!(said.windows(3).any(|window| window == b"one"));
        assert_eq!(said.ends_with(&query("COMMIT")), arrives);
        assert!(heard.len() <= answer().len());
        let mut again = session(&proxy, "b");
        ask(&mut again, "COMMIT");
    }
}

#[test]
fn counts_from_the_strike_on_open_connections() {
    let server = Server::postgres();
    let proxy = Proxy::start(server.addr, 1).unwrap();
    let mut client = session(&proxy, "a");
    ask(&mut client, "one");
    let cut = Fault::CutAtMessage { way: Way::ToServer, k: 2, side: Side::Before };
    assert_eq!(proxy.on_open(Which::all(), cut), 1);
    ask(&mut client, "two");
    client.write_all(&query("three")).unwrap();
    assert_eq!(read_out(&mut client), (vec![], Err(ErrorKind::ConnectionReset)));
    assert!(server.ended(0).bytes.ends_with(&query("two")));
}

#[test]
fn heals_so_that_nothing_is_hit_any_more() {
    let server = Server::postgres();
    let proxy = Proxy::start(server.addr, 1).unwrap();
    let mut client = session(&proxy, "a");
    let cut = Fault::CutAtMessage { way: Way::ToServer, k: 1, side: Side::Before };
    proxy.on_all(Which::all(), cut);
    proxy.on_all(Which::sent("one"), Fault::Reset);
    proxy.heal();
    ask(&mut client, "one");
    ask(&mut session(&proxy, "b"), "one");
    drop(client);
    wait_for("the end", || proxy.connections()[0].end);
}
