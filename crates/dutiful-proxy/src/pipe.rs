//! One direction of a connection: reads, waits as the faults say, and writes what may go on.
//!
//! Each step looks at the faults and reads or writes without waiting, all under the connection's
//! lock. So a call that changes the faults never overtakes a byte, nor a byte the call.

use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Waker};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::time::{Instant, sleep_until, timeout};

use crate::connection::{End, Hole, Release, Shared, State};
use crate::fault::Way;

/// What is read at a time, in bytes.
const READ_MAX: usize = 64 * 1024;
/// A throttled direction writes so many times a second.
const SLICES_PER_SECOND: u32 = 20;
/// How long an end that was cut off may go on talking, before its socket is closed under it.
const LINGER_MAX: Duration = Duration::from_secs(5);

struct Pipe<'a> {
    way: Way,
    connection: &'a Shared,
    from: ReadHalf<'a>,
    to: WriteHalf<'a>,
    /// Read and not yet written.
    pending: Vec<u8>,
    /// What of it may go on, and whether the cut comes then.
    release: Release,
    due: Option<Instant>,
    end_of_stream: bool,
    buffer: Box<[u8]>,
}

/// What a pipe waits for; a change of the faults ends every wait.
enum Next {
    Step,
    Readable,
    Writable,
    At(Instant),
    Change,
    Done,
}

/// Carries a connection until it ends, and ends both sockets as its end asks.
pub(crate) async fn carry(connection: &Shared, mut client: TcpStream, mut server: TcpStream) {
    {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let there = Pipe::new(Way::ToServer, connection, from_client, to_server);
        let back = Pipe::new(Way::ToClient, connection, from_server, to_client);
        tokio::join!(there.run(), back.run());
    }
    let end = *connection.lock().end.get_or_insert(End::Closed);
    match end {
        End::Closed => {}
        End::Reset => {
            reset(client);
            reset(server);
        }
        End::Cut(Way::ToServer) => {
            reset(client);
            close_behind_the_last_byte(server).await;
        }
        End::Cut(Way::ToClient) => {
            reset(server);
            close_behind_the_last_byte(client).await;
        }
    }
}

/// Closes with RST.
pub(crate) fn reset(stream: TcpStream) {
    // It fails for a socket that is gone already, which is as good.
    let _ = stream.set_zero_linger();
    drop(stream);
}

/// A socket that is closed while it has something to read loses what it has yet to send. So this
/// says that nothing more comes, and hears the other end out.
async fn close_behind_the_last_byte(mut stream: TcpStream) {
    let _ = stream.shutdown().await;
    let mut heard = [0; 4096];
    let drain = async { while stream.read(&mut heard).await.is_ok_and(|n| n > 0) {} };
    let _ = timeout(LINGER_MAX, drain).await;
}

impl<'a> Pipe<'a> {
    fn new(way: Way, connection: &'a Shared, from: ReadHalf<'a>, to: WriteHalf<'a>) -> Self {
        Self {
            way,
            connection,
            from,
            to,
            pending: Vec::new(),
            release: Release::default(),
            due: None,
            end_of_stream: false,
            buffer: vec![0; READ_MAX].into_boxed_slice(),
        }
    }

    async fn run(mut self) {
        let mut changed = self.connection.changed.subscribe();
        loop {
            let next = self.step(&mut self.connection.lock());
            let change = changed.changed();
            match next {
                Next::Step => tokio::task::yield_now().await,
                Next::Readable => {
                    tokio::select! { _ = self.from.readable() => {} _ = change => {} }
                }
                Next::Writable => tokio::select! { _ = self.to.writable() => {} _ = change => {} },
                Next::At(due) => tokio::select! { () = sleep_until(due) => {} _ = change => {} },
                Next::Change => drop(change.await),
                Next::Done => break,
            }
        }
        self.connection.changed.send_replace(());
    }

    fn step(&mut self, state: &mut State) -> Next {
        if state.end.is_some() {
            return Next::Done;
        }
        match state.lanes.of(self.way).hole {
            Some(Hole::DoesNotRead) => return Next::Change,
            Some(Hole::Drops) => return self.swallow(state),
            None => {}
        }
        match self.due {
            Some(due) if Instant::now() < due => return Next::At(due),
            _ => self.due = None,
        }
        if self.release.len == 0 && !self.release.cut {
            self.release = state.release(self.way, &self.pending, !self.end_of_stream);
        }
        match self.release {
            Release { struck: true, .. } => {
                self.delay(state);
                Next::Step
            }
            Release { len: 1.., .. } => self.write(state),
            Release { cut: true, .. } => {
                state.end = Some(End::Cut(self.way));
                Next::Done
            }
            _ if self.end_of_stream => self.pass_the_end_on(),
            _ => self.read(state),
        }
    }

    fn read(&mut self, state: &mut State) -> Next {
        match self.from.try_read(&mut self.buffer) {
            Ok(0) => self.end_of_stream = true,
            Ok(n) => {
                self.pending.extend_from_slice(&self.buffer[..n]);
                self.delay(state);
                state.lanes.of_mut(self.way).read += n as u64;
            }
            Err(error) => return failed(state, &error, Next::Readable),
        }
        Next::Step
    }

    fn delay(&mut self, state: &mut State) {
        let lane = state.lanes.of_mut(self.way);
        if let Some((base, jitter)) = lane.delay {
            let delay = base + self.jitter(lane.read, jitter);
            lane.delayed += delay;
            self.due = Some(Instant::now() + delay);
        }
    }

    fn write(&mut self, state: &mut State) -> Next {
        let lane = state.lanes.of_mut(self.way);
        let slice = lane.rate.map_or(usize::MAX, |rate| (rate / SLICES_PER_SECOND).max(1) as usize);
        match self.to.try_write(&self.pending[..self.release.len.min(slice)]) {
            Ok(n) => {
                self.pending.drain(..n);
                self.release.len -= n;
                if let Some(rate) = lane.rate {
                    let pause = Duration::from_secs_f64(n as f64 / f64::from(rate));
                    self.due = Some(Instant::now() + pause);
                }
                state.wrote(self.way, n);
                Next::Step
            }
            Err(error) => failed(state, &error, Next::Writable),
        }
    }

    /// Reads and drops. That the sender has closed or failed is not passed on either.
    fn swallow(&mut self, state: &mut State) -> Next {
        let lane = state.lanes.of_mut(self.way);
        lane.lost |= !self.pending.is_empty();
        self.pending.clear();
        self.release = Release::default();
        if self.end_of_stream {
            return Next::Change;
        }
        match self.from.try_read(&mut self.buffer) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Next::Readable,
            Ok(n) if n > 0 => lane.read += n as u64,
            _ => self.end_of_stream = true,
        }
        lane.lost = true;
        Next::Step
    }

    /// The other direction may go on for long.
    fn pass_the_end_on(&mut self) -> Next {
        // For a TCP socket this is one call that does not wait.
        let _ = Pin::new(&mut self.to).poll_shutdown(&mut Context::from_waker(Waker::noop()));
        Next::Done
    }

    /// From the place in the stream, so that it does not depend on how reads were divided before.
    fn jitter(&self, place: u64, jitter: Duration) -> Duration {
        let numbers = [self.connection.seed, self.connection.id, self.way as u64, place];
        let mixed =
            numbers.iter().fold(0, |seed, number| fastrand::Rng::with_seed(seed ^ number).u64(..));
        let nanos = u64::try_from(jitter.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(fastrand::Rng::with_seed(mixed).u64(0..=nanos))
    }
}

/// An end that fails is reset on the other side too; one that is not ready is waited for.
fn failed(state: &mut State, error: &io::Error, until: Next) -> Next {
    if error.kind() == ErrorKind::WouldBlock {
        return until;
    }
    state.end = Some(End::Reset);
    Next::Done
}
