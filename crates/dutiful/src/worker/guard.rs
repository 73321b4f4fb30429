//! Keeps a handler's panic from spreading, and notes its message and place.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Once;
use std::task::{Context, Poll};

use crate::outcome::failure;
use crate::store::Failure;

thread_local! {
    static IN_HANDLER: Cell<bool> = const { Cell::new(false) };
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// The place of a panic is known only to the panic hook: ours notes it for handlers, then calls the
/// one that was there before, so that the program's own reporting goes on.
pub(super) fn install_hook() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if IN_HANDLER.get() {
                let place = info.location().map(ToString::to_string);
                PLACE.with_borrow_mut(|noted| *noted = place);
            }
            before(info);
        }));
    });
}

/// Calls code of the user; a panic in it becomes a failure.
pub(super) fn guarded<T>(run: impl FnOnce() -> T) -> Result<T, Failure> {
    let outer = IN_HANDLER.replace(true);
    let caught = catch_unwind(AssertUnwindSafe(run));
    IN_HANDLER.set(outer);
    caught.map_err(|panic| {
        let place = PLACE.with_borrow_mut(Option::take).unwrap_or_else(|| "unknown".into());
        failure("panic", &format!("panicked at {place}: {}", text(&*panic)))
    })
}

fn text(panic: &(dyn Any + Send)) -> &str {
    let literal = panic.downcast_ref::<&'static str>().copied();
    literal.or(panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("(no message)")
}

/// A future whose panics become failures, those at its drop too.
pub(super) struct Guarded<F: ?Sized>(Option<Pin<Box<F>>>);

impl<F: ?Sized> Guarded<F> {
    pub(super) fn new(future: Pin<Box<F>>) -> Self {
        Self(Some(future))
    }
}

impl<F: ?Sized> Drop for Guarded<F> {
    fn drop(&mut self) {
        let future = self.0.take();
        // The hook has reported it; why the future is dropped decides what its attempt comes to.
        let _ = guarded(|| drop(future));
    }
}

impl<F: Future + ?Sized> Future for Guarded<F> {
    type Output = Result<F::Output, Failure>;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(future) = &mut self.0 else { return Poll::Pending };
        match guarded(|| future.as_mut().poll(cx)) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            Err(failure) => Poll::Ready(Err(failure)),
        }
    }
}
