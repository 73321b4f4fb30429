//! The proxy's door: its port, its thread, the rules of the test, and the list of connections.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc as answers};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;

use crate::connection::{Connection, End, Shared};
use crate::fault::{Each, Fault, Rule, Which};
use crate::framing::Framing;
use crate::pipe::{carry, reset};

/// Clients that may wait to be accepted.
const BACKLOG: u32 = 1024;
/// How long the proxy waits when it cannot accept, such as for a free descriptor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// A TCP proxy on a port and a thread of its own. Dropped, it closes everything.
#[derive(Debug)]
pub struct Proxy {
    addr: SocketAddr,
    table: Arc<Mutex<Table>>,
    orders: mpsc::UnboundedSender<Order>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Table {
    rules: Vec<Arc<Rule>>,
    /// Every connection ever accepted; the index is the id.
    connections: Vec<Arc<Shared>>,
    target: SocketAddr,
    seed: u64,
    framing: Framing,
}

/// What only the proxy's thread can do, with the way to answer.
#[derive(Debug)]
enum Order {
    Listen(answers::Sender<io::Result<()>>),
    Unlisten(answers::Sender<io::Result<()>>),
}

/// The port. It stays ours while nobody listens: `bound` holds it without listening, which makes
/// the kernel refuse clients.
struct Port {
    addr: SocketAddr,
    _bound: TcpSocket,
    listener: Option<TcpListener>,
}

impl Proxy {
    /// Starts a proxy that knows PostgreSQL's messages.
    ///
    /// # Errors
    ///
    /// The machine's, where it has no port, descriptor or thread left.
    pub fn start(target: SocketAddr, seed: u64) -> io::Result<Self> {
        Self::start_with(Framing::Postgres, target, seed)
    }

    /// Starts a proxy for another protocol.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub fn start_with(framing: Framing, target: SocketAddr, seed: u64) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let port = {
            let _inside = runtime.enter();
            Port::open()?
        };
        let addr = port.addr;
        let (rules, connections) = (Vec::new(), Vec::new());
        let table = Arc::new(Mutex::new(Table { rules, connections, target, seed, framing }));
        let (orders, received) = mpsc::unbounded_channel();
        let thread = thread::Builder::new().name("dutiful-proxy".to_owned()).spawn({
            let table = table.clone();
            move || serve(&runtime, port, &table, received)
        })?;
        Ok(Self { addr, table, orders, thread: Some(thread) })
    }

    /// Where clients connect to.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Sends connections accepted from now on to another target, as when an address moves to
    /// another machine. Open ones stay where they are.
    pub fn redirect(&self, target: SocketAddr) {
        self.lock().target = target;
    }

    /// Every connection that was ever accepted, ended ones too, by id.
    pub fn connections(&self) -> Vec<Connection> {
        self.lock().connections.iter().map(|shared| shared.look()).collect()
    }

    /// How many whole messages a connection has carried each way.
    ///
    /// # Panics
    ///
    /// If no connection has this id.
    pub fn messages(&self, id: u64) -> Each<u64> {
        let table = self.lock();
        let shared = usize::try_from(id).ok().and_then(|index| table.connections.get(index));
        shared.expect("the id is that of an accepted connection").look().messages
    }

    /// Puts a fault on connections accepted from now on, until [`heal`](Self::heal). (A client may
    /// believe that it is connected shortly before it is accepted.)
    ///
    /// # Panics
    ///
    /// On a message 0 or a throttle of 0.
    pub fn on_new(&self, which: Which, fault: Fault) {
        self.lock().add(which, fault);
    }

    /// Puts a fault on open connections, at once; returns how many it hit.
    ///
    /// # Panics
    ///
    /// As [`on_new`](Self::on_new).
    pub fn on_open(&self, which: Which, fault: Fault) -> usize {
        let table = self.lock();
        let rule = Arc::new(Rule::new(which, fault, table.accepted()));
        table.strike(&rule, false)
    }

    /// Does both: on the open ones, also when they say a text later, and on those to come. Returns
    /// how many open ones it hit at once.
    ///
    /// # Panics
    ///
    /// As [`on_new`](Self::on_new).
    pub fn on_all(&self, which: Which, fault: Fault) -> usize {
        let mut table = self.lock();
        let rule = table.add(which, fault);
        table.strike(&rule, true)
    }

    /// Resets connections at once; returns how many.
    pub fn kill(&self, which: Which) -> usize {
        self.on_open(which, Fault::Reset)
    }

    /// Stops listening, so that clients are refused by the kernel. Open connections stay.
    pub fn stop_listening(&self) {
        self.order(Order::Unlisten).expect("closing a listener does not fail");
    }

    /// Takes away every fault and listens again. Connections that a blackhole made lose bytes are
    /// reset; all others go on.
    ///
    /// # Panics
    ///
    /// If the machine refuses to listen.
    pub fn heal(&self) {
        self.order(Order::Listen).expect("the port stayed ours, so it can be listened on");
        let mut table = self.lock();
        table.rules.clear();
        table.connections.iter().for_each(|shared| shared.heal());
    }

    fn order(
        &self,
        order: impl FnOnce(answers::Sender<io::Result<()>>) -> Order,
    ) -> io::Result<()> {
        let (answer, answered) = answers::channel();
        let gone = || io::Error::other("the proxy's thread has ended");
        self.orders.send(order(answer)).map_err(|_| gone())?;
        answered.recv().map_err(|_| gone())?
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        lock(&self.table)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let (orders, _) = mpsc::unbounded_channel();
        // Without its sender the thread has nobody to work for.
        self.orders = orders;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Table {
    fn accepted(&self) -> u64 {
        self.connections.len() as u64
    }

    fn add(&mut self, which: Which, fault: Fault) -> Arc<Rule> {
        let rule = Arc::new(Rule::new(which, fault, self.accepted()));
        self.rules.push(rule.clone());
        rule
    }

    fn strike(&self, rule: &Arc<Rule>, waits: bool) -> usize {
        self.connections.iter().filter(|shared| shared.apply(rule, waits)).count()
    }

    /// Takes a connection in, under every rule there is; says where it goes.
    fn accept(&mut self) -> (Arc<Shared>, SocketAddr) {
        let shared = Arc::new(Shared::new(self.accepted(), self.seed, self.framing));
        for rule in &self.rules {
            shared.apply(rule, true);
        }
        self.connections.push(shared.clone());
        (shared, self.target)
    }
}

impl Port {
    fn open() -> io::Result<Self> {
        let bound = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        let addr = bound.local_addr()?;
        let mut port = Self { addr, _bound: bound, listener: None };
        port.listen()?;
        Ok(port)
    }

    fn listen(&mut self) -> io::Result<()> {
        if self.listener.is_none() {
            self.listener = Some(bind(self.addr)?.listen(BACKLOG)?);
        }
        Ok(())
    }

    async fn accept(&self) -> io::Result<TcpStream> {
        match &self.listener {
            Some(listener) => Ok(listener.accept().await?.0),
            None => std::future::pending().await,
        }
    }
}

/// Two sockets may be bound to one port as long as at most one of them listens.
fn bind(addr: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    Ok(socket)
}

fn lock(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The proxy's thread: accepts and obeys until the proxy is dropped; then its tasks go with it.
fn serve(
    runtime: &Runtime,
    mut port: Port,
    table: &Mutex<Table>,
    mut orders: mpsc::UnboundedReceiver<Order>,
) {
    runtime.block_on(async {
        loop {
            tokio::select! {
                order = orders.recv() => match order {
                    None => return,
                    Some(Order::Listen(answer)) => drop(answer.send(port.listen())),
                    Some(Order::Unlisten(answer)) => {
                        port.listener = None;
                        drop(answer.send(Ok(())));
                    }
                },
                accepted = port.accept() => match accepted {
                    Ok(client) => {
                        let (connection, target) = lock(table).accept();
                        drop(tokio::spawn(join(connection, client, target)));
                    }
                    Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
                },
            }
        }
    });
}

/// Joins a client with the target, unless it was refused at the door.
async fn join(connection: Arc<Shared>, client: TcpStream, target: SocketAddr) {
    if connection.lock().end == Some(End::Closed) {
        return;
    }
    match TcpStream::connect(target).await {
        Ok(server) => {
            // Small messages go on at once; a socket that is gone already is noticed soon enough.
            let _ = client.set_nodelay(true);
            let _ = server.set_nodelay(true);
            carry(&connection, client, server).await;
        }
        Err(_) => {
            connection.lock().end.get_or_insert(End::Reset);
            reset(client);
        }
    }
}
