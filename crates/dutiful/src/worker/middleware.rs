//! What stands around handlers: each layer is called with the rest of the way, and may look before
//! and after, answer in its place, or change the answer.

use std::sync::Arc;
use std::task::{Poll, Wake};
use std::thread::Thread;

use super::registry::{Answering, Handler};
use crate::context::{Attempt, Context};
use crate::outcome::{Answer, Result};

/// The rest of the way to the handler, as a layer of middleware sees it.
#[must_use = "without .run() the handler is not called"]
pub struct Next(Answering);

impl Next {
    /// Calls the next layer, or the handler, and returns its answer.
    ///
    /// # Errors
    /// What the handler returned. A panic or a timeout does not come back here: the layers are
    /// dropped with the handler.
    pub async fn run(self) -> Result<Answer> {
        self.0.await
    }
}

/// One layer, for workers with this application.
pub(super) type Layer<A> = Arc<dyn Fn(Context<A>, Next) -> Answering + Send + Sync>;

/// Puts a layer around a handler. A blocking one stays on its own thread: the layer waits there.
pub(super) fn around<A: Send + Sync + 'static>(
    handler: Handler,
    app: Arc<A>,
    layer: Layer<A>,
) -> Handler {
    match handler {
        Handler::Async(inner) => Handler::Async(Arc::new(move |payload, attempt: Arc<Attempt>| {
            let cx = Context { app: app.clone(), attempt: attempt.clone() };
            let inner = inner.clone();
            // Called when it is polled, so that a panic in it passes through the layer's drop.
            let rest = Box::pin(async move { inner(payload, attempt).await });
            layer(cx, Next(rest))
        })),
        Handler::Blocking(inner) => {
            Handler::Blocking(Arc::new(move |payload, attempt: Arc<Attempt>| {
                let cx = Context { app: app.clone(), attempt: attempt.clone() };
                let (inner, runtime) = (inner.clone(), attempt.runtime.clone());
                let rest = Box::pin(async move { inner(payload, attempt) });
                drive(&runtime, layer(cx, Next(rest)))
            }))
        }
    }
}

/// Runs a future on this thread. Not by the runtime's own `block_on`: the handler inside may call
/// that itself (`cx.wait`), and tokio refuses one within the other.
fn drive(runtime: &tokio::runtime::Handle, mut future: Answering) -> Result<Answer> {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let _timers = runtime.enter();
    let waker = Arc::new(Unpark(std::thread::current())).into();
    let mut cx = std::task::Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut cx) {
            Poll::Ready(answer) => return answer,
            Poll::Pending => std::thread::park(),
        }
    }
}
