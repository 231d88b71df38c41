//! The threads that a model computes with.

use std::num::NonZeroUsize;
use std::sync::mpsc;

use florence2_core::generate::GenerationObserver;

use crate::error::{Error, Result};

/// More threads than any machine gains from; a larger count is a mistake.
const MAX_THREADS: usize = 1024;

/// A model's own threads, or those of the process.
pub(crate) struct Threads(Option<rayon::ThreadPool>);

impl Threads {
    pub(crate) fn new(count: Option<NonZeroUsize>) -> Result<Self> {
        let Some(count) = count.map(NonZeroUsize::get) else {
            return Ok(Self(None));
        };
        let refuse = |reason: String| Error::Threads {
            found: count,
            reason,
        };
        if count > MAX_THREADS {
            return Err(refuse(format!("expected at most {MAX_THREADS}")));
        }
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(count)
            .thread_name(|index| format!("florence2-{index}"))
            .build()
            .map_err(|error| refuse(error.to_string()))?;
        Ok(Self(Some(pool)))
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.0
            .as_ref()
            .map_or_else(rayon::current_num_threads, |pool| {
                pool.current_num_threads()
            })
    }

    /// Computes on these threads.
    pub(crate) fn install<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        match &self.0 {
            None => work(),
            Some(pool) => pool.install(work),
        }
    }

    /// Computes on these threads, and tells `observer` on the caller's thread what happens.
    pub(crate) fn install_observed<R: Send>(
        &self,
        observer: &mut GenerationObserver<'_>,
        work: impl FnOnce(&mut GenerationObserver<'_>) -> Result<R> + Send,
    ) -> Result<R> {
        let Some(pool) = &self.0 else {
            return work(observer);
        };
        if !observer.is_listening() {
            return pool.install(|| work(&mut GenerationObserver::default()));
        }
        let (sender, events) = mpsc::channel();
        let mut result = None;
        let heard = pool.in_place_scope(|scope| {
            scope.spawn(|_| {
                // Nobody receives any more once the observer has ended the run.
                let mut forward = |event| match sender.send(event) {
                    Ok(()) => std::ops::ControlFlow::Continue(()),
                    Err(_) => std::ops::ControlFlow::Break(()),
                };
                result = Some(work(&mut GenerationObserver::new(&mut forward)));
                drop(sender);
            });
            events
                .into_iter()
                .try_for_each(|event| observer.notify(event))
        });
        heard?;
        // INVARIANT: the scope ends after its work, and passes the work's panic on.
        result.expect("the work was done")
    }
}
