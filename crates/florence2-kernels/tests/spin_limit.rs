//! The processor time of threads that spin. The only test of its program, since other threads would add theirs.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use burn_flex::Flex;
use florence2_kernels::{Backend, with_spin_limit};

const WORK: Duration = Duration::from_millis(500);

/// The processor time of this process in clock ticks, of which a second has 100: utime and stime of
/// proc(5).
fn processor_ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let fields = fields.split_whitespace().skip(11).take(2);
    fields.map(|field| field.parse::<u64>().unwrap()).sum()
}

/// The processor time of work that itself only sleeps.
fn ticks_of(work: impl FnOnce()) -> u64 {
    let before = processor_ticks();
    work();
    processor_ticks() - before
}

fn sleep_with_limit(limit: usize) {
    with_spin_limit(limit, || Flex::run(|| std::thread::sleep(WORK)));
}

#[test]
fn idle_threads_spin_during_work_up_to_the_limit_and_sleep_after_it() {
    let processors = std::thread::available_parallelism().unwrap().get();
    if processors == 1 || rayon::current_num_threads() == 1 {
        println!("skipped: spinning threads: the machine has one processor");
        return;
    }
    sleep_with_limit(2);
    let [none, one, zero] = [1, 2, 0].map(|limit| ticks_of(|| sleep_with_limit(limit)));
    let after = ticks_of(|| std::thread::sleep(WORK));
    // A thread that spins alone on a processor takes 50 ticks of 10 ms; a busy machine gives it fewer.
    assert!(one >= 10, "limit 2: {one} ticks");
    for (limit, ticks) in [("1", none), ("0", zero), ("2, after the work", after)] {
        assert!(ticks < 10, "limit {limit}: {ticks} ticks");
    }
}
