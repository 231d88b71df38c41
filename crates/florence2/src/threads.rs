//! The threads of a model, and the state of the process that they depend on.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak, mpsc};

use rayon::ThreadPool;

use florence2_core::generate::GenerationObserver;

use crate::error::{Error, Result};

/// The maximum number of threads. A larger count is an error.
const MAX_THREADS: usize = 1024;

/// The id of the process that loaded the first model; 0 before that.
static PROCESS: AtomicU32 = AtomicU32::new(0);

/// The thread pools of the loaded models.
static POOLS: Mutex<Vec<Weak<ThreadPool>>> = Mutex::new(Vec::new());

/// A model's own threads, or the global pool of the process.
pub(crate) struct Threads {
    pool: Option<Arc<ThreadPool>>,
    /// The maximum number of threads that spin; `None` for the default.
    #[cfg_attr(not(feature = "flex"), allow(dead_code))]
    spin_limit: Option<usize>,
}

/// Returns an error in a process that was forked after a model was loaded: it does not have the
/// threads of its parent's pools, and would block on them forever.
pub(crate) fn check_process() -> Result<()> {
    let process = std::process::id();
    match PROCESS.compare_exchange(0, process, Ordering::Relaxed, Ordering::Relaxed) {
        Err(first) if first != process => Err(Error::Forked {
            parent: first,
            process,
        }),
        _ => Ok(()),
    }
}

/// Returns true if this process is a fork, and thus does not have the threads of its parent's
/// pools.
fn is_forked() -> bool {
    ![0, std::process::id()].contains(&PROCESS.load(Ordering::Relaxed))
}

/// The number of threads of the models that have no threads of their own. Starts no threads.
pub(crate) fn process_threads() -> usize {
    if PROCESS.load(Ordering::Relaxed) != 0 && !is_forked() {
        return rayon::current_num_threads();
    }
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let variable = std::env::var("RAYON_NUM_THREADS");
    let count = variable.ok().and_then(|count| count.parse().ok());
    count.filter(|count| *count > 0).unwrap_or(processors)
}

/// Frees memory that is kept for later runs: buffers between the layers, and freed memory that
/// [`Allocator`](crate::Allocator) has not yet returned to the system. Blocks until the threads of
/// all models have freed theirs. The next runs allocate again.
pub fn trim() {
    if !is_forked() && PROCESS.load(Ordering::Relaxed) != 0 {
        let pools: Vec<_> = {
            let mut pools = POOLS.lock().unwrap_or_else(PoisonError::into_inner);
            pools.retain(|pool| pool.strong_count() > 0);
            pools.iter().filter_map(Weak::upgrade).collect()
        };
        for pool in pools {
            pool.broadcast(|_| florence2_kernels::trim());
        }
        rayon::broadcast(|_| florence2_kernels::trim());
    }
    florence2_kernels::trim();
}

impl Drop for Threads {
    fn drop(&mut self) {
        // A forked process does not have the threads that this would end.
        if is_forked() {
            std::mem::forget(self.pool.take());
        }
    }
}

impl Threads {
    pub(crate) fn new(count: Option<NonZeroUsize>, spin_limit: Option<usize>) -> Result<Self> {
        check_process()?;
        let Some(count) = count.map(NonZeroUsize::get) else {
            return Ok(Self {
                pool: None,
                spin_limit,
            });
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
        let pool = Arc::new(pool);
        let mut pools = POOLS.lock().unwrap_or_else(PoisonError::into_inner);
        pools.push(Arc::downgrade(&pool));
        Ok(Self {
            pool: Some(pool),
            spin_limit,
        })
    }

    /// The number of threads.
    pub(crate) fn count(&self) -> usize {
        self.pool
            .as_ref()
            .map_or_else(rayon::current_num_threads, |pool| {
                pool.current_num_threads()
            })
    }

    /// Runs work on these threads.
    pub(crate) fn install<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        match &self.pool {
            None => self.spin(work),
            Some(pool) => pool.install(|| self.spin(work)),
        }
    }

    /// Runs work with the limit of spinning threads in effect.
    fn spin<R>(&self, work: impl FnOnce() -> R) -> R {
        #[cfg(feature = "flex")]
        if let Some(limit) = self.spin_limit {
            return florence2_kernels::with_spin_limit(limit, work);
        }
        work()
    }

    /// Runs work on these threads, and calls `observer` on the caller's thread.
    pub(crate) fn install_observed<R: Send>(
        &self,
        observer: &mut GenerationObserver<'_>,
        work: impl FnOnce(&mut GenerationObserver<'_>) -> Result<R> + Send,
    ) -> Result<R> {
        let Some(pool) = &self.pool else {
            return self.spin(|| work(observer));
        };
        if !observer.is_listening() {
            return self.install(|| work(&mut GenerationObserver::default()));
        }
        let (sender, events) = mpsc::channel();
        let mut result = None;
        let notified = pool.in_place_scope(|scope| {
            scope.spawn(|_| {
                // The receiver is dropped when the observer has ended the run.
                let mut forward = |event| match sender.send(event) {
                    Ok(()) => std::ops::ControlFlow::Continue(()),
                    Err(_) => std::ops::ControlFlow::Break(()),
                };
                let mut observer = GenerationObserver::new(&mut forward);
                result = Some(self.spin(|| work(&mut observer)));
                drop(sender);
            });
            events
                .into_iter()
                .try_for_each(|event| observer.notify(event))
        });
        notified?;
        // INVARIANT: the scope ends after its work, and resumes a panic of the work.
        result.expect("the work was done")
    }
}
