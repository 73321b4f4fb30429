//! Each fault does what it says, exactly, over real sockets.
#![allow(dead_code, reason = "each program of tests uses another part of the server")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod server;

use std::io::{ErrorKind, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use dutiful_proxy::{Each, End, Fault, Framing, Proxy, Way, Which};
use server::{Server, connect, is_silent, read_exactly, read_out, wait_for};

fn raw(server: &Server) -> Proxy {
    Proxy::start_with(Framing::Raw, server.addr, 7).unwrap()
}

/// Many bytes, of which no two neighbouring stretches are alike.
fn pattern(n: usize) -> Vec<u8> {
    (0..n).map(|i| (i.wrapping_mul(31) ^ (i >> 8)) as u8).collect()
}

/// A connection over which a byte went both ways, so the proxy has joined it.
fn joined(proxy: &Proxy) -> TcpStream {
    let mut client = connect(proxy.addr());
    client.write_all(b"!").unwrap();
    assert_eq!(read_exactly(&mut client, 1), b"!");
    client
}

fn is_broken(end: Result<(), ErrorKind>) -> bool {
    matches!(end, Err(ErrorKind::ConnectionReset | ErrorKind::BrokenPipe))
}

#[test]
fn forwards_every_byte_and_the_end_of_each_direction() {
    let server = Server::echo();
    let proxy = raw(&server);
    let said = pattern(1_000_000);
    let mut client = connect(proxy.addr());
    let mut writer = client.try_clone().unwrap();
    let sent = said.clone();
    let writing = std::thread::spawn(move || {
        writer.write_all(&sent).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    assert!(read_out(&mut client) == (said.clone(), Ok(())));
    writing.join().unwrap();
    assert!(server.ended(0).bytes == said);
    let seen = wait_for("the end", || proxy.connections().pop().filter(|seen| seen.end.is_some()));
    assert_eq!(seen.bytes, Each { to_server: 1_000_000, to_client: 1_000_000 });
    assert_eq!((seen.id, seen.end), (0, Some(End::Closed)));
}

#[test]
fn cuts_after_exactly_so_many_bytes() {
    let said = pattern(300_000);
    for n in [0, 1, 5, 65_536, 200_001] {
        for way in [Way::ToServer, Way::ToClient] {
            let server = Server::echo();
            let proxy = raw(&server);
            proxy.on_new(Which::next(0), Fault::CutAtByte { way, n: n as u64 });
            let mut client = connect(proxy.addr());
            let mut writer = client.try_clone().unwrap();
            let sent = said.clone();
            let writing = std::thread::spawn(move || writer.write_all(&sent));
            let (heard, end) = read_out(&mut client);
            // A reset is told once, to the call that meets it first.
            let end = writing.join().unwrap().map_err(|error| error.kind()).and(end);
            if way == Way::ToClient {
                assert!(heard == said[..n], "{} bytes of {n}", heard.len());
            } else {
                assert!(server.ended(0).bytes == said[..n]);
                assert_eq!(server.ended(0).end, Some(Ok(())));
                assert!(is_broken(end), "{end:?}");
            }
            let seen = proxy.connections().remove(0);
            assert_eq!((*seen.bytes.of(way), seen.end), (n as u64, Some(End::Cut(way))));
        }
    }
}

#[test]
fn a_blackhole_that_reads_leaves_the_client_waiting_and_is_reset_when_healed() {
    let server = Server::echo();
    let proxy = raw(&server);
    let mut client = joined(&proxy);
    let hole = Fault::Blackhole { ways: Way::BOTH, reads: true };
    assert_eq!(proxy.on_open(Which::all(), hole), 1);
    client.write_all(&pattern(20_000_000)).unwrap();
    assert!(is_silent(&mut client));
    assert_eq!(server.heard()[0].bytes, b"!");
    assert_eq!(server.heard()[0].end, None);
    assert_eq!(proxy.connections()[0].end, None);
    proxy.heal();
    assert_eq!(read_out(&mut client), (vec![], Err(ErrorKind::ConnectionReset)));
    assert_eq!(server.ended(0).end, Some(Err(ErrorKind::ConnectionReset)));
}

#[test]
fn a_blackhole_that_does_not_read_blocks_the_client_and_loses_nothing_when_healed() {
    let server = Server::echo();
    let proxy = raw(&server);
    let mut client = joined(&proxy);
    proxy.on_open(Which::id(0), Fault::Blackhole { ways: Way::BOTH, reads: false });
    client.set_write_timeout(Some(Duration::from_millis(100))).unwrap();
    let (said, mut sent) = (pattern(50_000_000), 0);
    let error = loop {
        match client.write(&said[sent..]) {
            Ok(0) => panic!("somebody read it all"),
            Ok(n) => sent += n,
            Err(error) => break error.kind(),
        }
    };
    assert!(matches!(error, ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
    assert!(is_silent(&mut client));
    assert_eq!(server.heard()[0].bytes, b"!");
    proxy.heal();
    assert!(read_exactly(&mut client, sent) == said[..sent]);
}

#[test]
fn a_blackhole_does_not_tell_one_end_that_the_other_has_closed() {
    for reads in [true, false] {
        let server = Server::echo();
        let proxy = raw(&server);
        let client = joined(&proxy);
        proxy.on_open(Which::all(), Fault::Blackhole { ways: Way::BOTH, reads });
        drop(client);
        // The proxy has one thread: it has met the end of the first when this has come through.
        drop(joined(&proxy));
        assert_eq!(proxy.kill(Which::id(0)), 1);
        // Not the end of the stream, which would have come first.
        assert_eq!(server.ended(0).end, Some(Err(ErrorKind::ConnectionReset)));
    }
}

#[test]
fn a_blackhole_of_answers_lets_requests_arrive() {
    let server = Server::echo();
    let proxy = raw(&server);
    let mut client = joined(&proxy);
    proxy.on_open(Which::all(), Fault::Blackhole { ways: &[Way::ToClient], reads: true });
    client.write_all(b"hello").unwrap();
    wait_for("the request", || (server.heard()[0].bytes == b"!hello").then_some(()));
    assert!(is_silent(&mut client));
}

#[test]
fn a_kill_resets_both_ends_of_whom_it_names() {
    let server = Server::echo();
    let proxy = raw(&server);
    let (mut first, mut second) = (joined(&proxy), joined(&proxy));
    assert_eq!(proxy.kill(Which::id(0)), 1);
    assert_eq!(read_out(&mut first), (vec![], Err(ErrorKind::ConnectionReset)));
    assert_eq!(server.ended(0).end, Some(Err(ErrorKind::ConnectionReset)));
    second.write_all(b"on").unwrap();
    assert_eq!(read_exactly(&mut second, 2), b"on");
    assert_eq!(proxy.kill(Which::all().once()), 1);
    assert_eq!(proxy.kill(Which::all()), 0);
}

#[test]
fn refuses_at_the_door_or_does_not_listen_at_all_until_healed() {
    let server = Server::echo();
    let proxy = raw(&server);
    let mut old = joined(&proxy);
    proxy.on_new(Which::next(1), Fault::Refuse);
    drop(joined(&proxy));
    assert_eq!(read_out(&mut connect(proxy.addr())), (vec![], Ok(())));
    drop(joined(&proxy));
    assert_eq!(server.heard().len(), 3);

    proxy.stop_listening();
    let refused = TcpStream::connect(proxy.addr()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    old.write_all(b"on").unwrap();
    assert_eq!(read_exactly(&mut old, 2), b"on");
    proxy.heal();
    drop(joined(&proxy));
}

#[test]
fn a_throttle_takes_its_time_in_its_direction() {
    let server = Server::echo();
    let proxy = raw(&server);
    proxy
        .on_new(Which::all(), Fault::Throttle { ways: &[Way::ToServer], bytes_per_second: 20_000 });
    let (said, begun) = (pattern(5_000), Instant::now());
    let mut client = connect(proxy.addr());
    client.write_all(&said).unwrap();
    assert_eq!(read_exactly(&mut client, said.len()), said);
    // Five slices of 1000 bytes with a pause of 50 ms between them.
    assert!(begun.elapsed() >= Duration::from_millis(200), "{:?}", begun.elapsed());
}

/// Says ten things in turn and returns the delays of both directions.
fn delays(seed: u64) -> Each<Duration> {
    let server = Server::echo();
    let proxy = Proxy::start_with(Framing::Raw, server.addr, seed).unwrap();
    let (base, jitter) = (Duration::from_millis(2), Duration::from_millis(8));
    proxy.on_new(Which::all(), Fault::Delay { ways: Way::BOTH, base, jitter });
    let mut client = connect(proxy.addr());
    let begun = Instant::now();
    for _ in 0..10 {
        client.write_all(b"?").unwrap();
        assert_eq!(read_exactly(&mut client, 1), b"?");
    }
    let delayed = proxy.connections()[0].delayed;
    assert!(begun.elapsed() >= delayed.to_server + delayed.to_client);
    assert!(delayed.to_server >= 10 * base && delayed.to_server <= 10 * (base + jitter));
    delayed
}

#[test]
fn a_seed_gives_the_same_delays_again() {
    let first = delays(1);
    assert_eq!(first, delays(1));
    assert_ne!(first, delays(2));
    assert_ne!(first.to_server, first.to_client);
}

#[test]
fn a_target_that_is_gone_and_a_proxy_that_is_dropped_end_their_clients() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let proxy = Proxy::start(nobody, 1).unwrap();
    assert_eq!(read_out(&mut connect(proxy.addr())).1, Err(ErrorKind::ConnectionReset));

    let server = Server::echo();
    let proxy = raw(&server);
    let mut client = joined(&proxy);
    drop(proxy);
    assert_eq!(read_out(&mut client).0, b"");
    server.ended(0);
}

#[test]
fn new_connections_follow_an_address_that_moves_and_open_ones_stay() {
    let (old, new) = (Server::echo(), Server::echo());
    let proxy = raw(&old);
    let mut before = joined(&proxy);
    proxy.redirect(new.addr);
    let mut after = connect(proxy.addr());
    for (client, said) in [(&mut before, b"to the old"), (&mut after, b"to the new")] {
        client.write_all(said).unwrap();
        assert_eq!(read_exactly(client, said.len()), said);
        client.shutdown(Shutdown::Write).unwrap();
    }
    assert_eq!(old.ended(0).bytes, b"!to the old");
    assert_eq!(new.ended(0).bytes, b"to the new");
}
