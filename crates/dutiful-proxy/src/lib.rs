//! Faults on the wire, on purpose: a TCP proxy that tests put between a client and its server.
//!
//! The proxy listens on a port of its own, forwards to a target, and does to connections what
//! networks do: it delays, throttles, swallows, resets, and cuts after exactly so many bytes or
//! before or after exactly the k-th message. It has its own thread and runtime, so a test whose
//! runtime is blocked does not disturb it. Every call is synchronous and holds when it returns:
//! after `on_open(Which::all(), Fault::Blackhole { .. })` not one more byte goes on.
//!
//! A test chooses *whom* ([`Which`]), *what* ([`Fault`]) and *from when*: [`Proxy::on_new`] is for
//! connections accepted from now on, [`Proxy::on_open`] for those that are open, [`Proxy::on_all`]
//! for both. [`Proxy::heal`] ends it all.
//!
//! ```
//! use std::io::{Read, Write};
//! use std::net::{TcpListener, TcpStream};
//!
//! use dutiful_proxy::{Fault, Framing, Proxy, Way, Which};
//!
//! # fn main() -> std::io::Result<()> {
//! // A server that answers with what it hears.
//! let server = TcpListener::bind("127.0.0.1:0")?;
//! let target = server.local_addr()?;
//! std::thread::spawn(move || {
//!     for stream in server.incoming().map_while(Result::ok) {
//!         std::thread::spawn(move || std::io::copy(&mut &stream, &mut &stream));
//!     }
//! });
//!
//! let seed = 1;
//! let proxy = Proxy::start_with(Framing::Raw, target, seed)?;
//! // The next connection breaks when three bytes of the answer have passed; others do not.
//! proxy.on_new(Which::next(0), Fault::CutAtByte { way: Way::ToClient, n: 3 });
//!
//! let mut client = TcpStream::connect(proxy.addr())?;
//! client.write_all(b"hello")?;
//! let mut answer = Vec::new();
//! client.read_to_end(&mut answer)?;
//! assert_eq!(answer, b"hel");
//! assert_eq!(proxy.connections()[0].bytes.to_client, 3);
//! # Ok(())
//! # }
//! ```
//!
//! # To run over every message
//!
//! Run the operation once without a fault and ask [`Proxy::messages`] how many messages each way
//! it took. Then, for each way, each k from 1 to that number and both [`Side`]s, run it again with
//! `on_new(Which::next(0), Fault::CutAtMessage { way, k, side })`. Messages and bytes are counted
//! from the moment in which the fault takes hold: for a new connection from its first byte, for an
//! open one from the strike.
//!
//! # To pick a connection by what it says
//!
//! `Which::sent("LISTEN")` is a connection that sent a statement, or a startup packet, with that
//! text; so `application_name` works too. The message that fits is itself the first to which the
//! fault applies: with `Which::sent("COMMIT").once()`, a cut before message 1 to the server loses
//! the commit, and a cut before message 1 to the client loses its answer, after the commit has gone
//! on. (If the client did not wait for earlier answers, the next of those is message 1.)

mod connection;
mod fault;
mod framing;
mod pipe;
mod proxy;

pub use connection::{Connection, End};
pub use fault::{Each, Fault, Side, Way, Which};
pub use framing::Framing;
pub use proxy::Proxy;
