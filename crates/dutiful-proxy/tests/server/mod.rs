//! A small server on real sockets: it keeps what each connection said and how it ended.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// How long a test waits for what has to come.
const PATIENCE: Duration = Duration::from_secs(20);

/// What one connection said, and how it ended if it did.
#[derive(Debug, Clone, Default)]
pub(crate) struct Heard {
    pub(crate) bytes: Vec<u8>,
    /// `None` while it is open, `Ok` at the end of the stream.
    pub(crate) end: Option<Result<(), ErrorKind>>,
}

type Answer = fn(&[u8], &mut usize) -> Vec<u8>;

pub(crate) struct Server {
    pub(crate) addr: SocketAddr,
    heard: Arc<Mutex<Vec<Heard>>>,
}

impl Server {
    /// Answers with what it hears.
    pub(crate) fn echo() -> Self {
        Self::start(|heard, answered| heard[std::mem::replace(answered, heard.len())..].to_vec())
    }

    /// Speaks enough of PostgreSQL's protocol: one byte to a request for encryption, two messages
    /// to any other.
    pub(crate) fn postgres() -> Self {
        Self::start(|heard, answered| {
            let mut answer = Vec::new();
            while let Some(length) = message_at(&heard[*answered..]) {
                let asks = length == 8 && heard[*answered] == 0;
                answer.extend(if asks { b"N".to_vec() } else { self::answer() });
                *answered += length;
            }
            answer
        })
    }

    fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let heard: Arc<Mutex<Vec<Heard>>> = Arc::default();
        let all = heard.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let index = all.lock().unwrap().len();
                all.lock().unwrap().push(Heard::default());
                let all = all.clone();
                thread::spawn(move || {
                    let end = listen(stream, answer, &all, index);
                    all.lock().unwrap()[index].end = Some(end.map_err(|error| error.kind()));
                });
            }
        });
        Self { addr, heard }
    }

    pub(crate) fn heard(&self) -> Vec<Heard> {
        self.heard.lock().unwrap().clone()
    }

    /// Waits for a connection to end and returns all that it said.
    pub(crate) fn ended(&self, index: usize) -> Heard {
        wait_for("the server's connection to end", || {
            self.heard().get(index).filter(|heard| heard.end.is_some()).cloned()
        })
    }
}

fn listen(
    mut stream: TcpStream,
    answer: Answer,
    all: &Mutex<Vec<Heard>>,
    index: usize,
) -> io::Result<()> {
    let (mut buffer, mut answered) = (vec![0; 64 * 1024], 0);
    loop {
        let n = stream.read(&mut buffer)?;
        if n == 0 {
            return Ok(());
        }
        let answer = {
            let heard = &mut all.lock().unwrap()[index].bytes;
            heard.extend_from_slice(&buffer[..n]);
            answer(heard, &mut answered)
        };
        stream.write_all(&answer)?;
    }
}

/// The length of the whole message at the front, if there is one.
fn message_at(bytes: &[u8]) -> Option<usize> {
    let first = *bytes.first()?;
    let (at, more) = if first == 0 { (0, 0) } else { (1, 1) };
    let length = u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().unwrap()) as usize + more;
    (bytes.len() >= length).then_some(length)
}

/// What the server says to one message.
pub(crate) fn answer() -> Vec<u8> {
    [typed(b'C', b"DONE\0"), typed(b'Z', b"I")].concat()
}

pub(crate) fn startup(code: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(8 + body.len()).unwrap();
    [&length.to_be_bytes()[..], &code.to_be_bytes(), body].concat()
}

pub(crate) fn typed(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(4 + body.len()).unwrap();
    [&[kind][..], &length.to_be_bytes(), body].concat()
}

/// Connects with a limit on every wait, so that a test that is wrong ends.
pub(crate) fn connect(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Reads to the end of the stream or to its failure.
pub(crate) fn read_out(stream: &mut TcpStream) -> (Vec<u8>, Result<(), ErrorKind>) {
    let mut bytes = Vec::new();
    let end = stream.read_to_end(&mut bytes);
    (bytes, end.map(drop).map_err(|error| error.kind()))
}

pub(crate) fn read_exactly(stream: &mut TcpStream, n: usize) -> Vec<u8> {
    let mut bytes = vec![0; n];
    stream.read_exact(&mut bytes).unwrap();
    bytes
}

/// Says whether nothing comes for a moment.
pub(crate) fn is_silent(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let read = stream.read(&mut [0]);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    read.is_err_and(|error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
}

/// Looks until something is there.
pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(2));
    }
}
