//! The measurements of calls.c, through the facade. Run by run.py.

#![allow(clippy::unwrap_used, missing_docs)]

use std::hint::black_box;
use std::time::Instant;

use florence2::{Florence2, Image, Task};

#[global_allocator]
static ALLOCATOR: florence2_kernels::Allocator = florence2_kernels::Allocator;

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn microseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e6
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, image, loads, runs] = arguments.as_slice() else {
        println!("python3 benches/ffi/run.py runs this beside calls.c");
        return;
    };
    let loads = (0..loads.parse().unwrap()).map(|_| {
        let started = Instant::now();
        let model = Florence2::load(folder).unwrap();
        let took = microseconds(started);
        drop(model);
        took
    });
    println!("load {}", median(loads.collect()));

    let model = Florence2::load(folder).unwrap();
    let image = Image::open(image).unwrap();
    let features = model.encode_image(&image).unwrap();
    let (mut all, mut outside) = (Vec::new(), Vec::new());
    for _ in 0..runs.parse().unwrap() {
        let started = Instant::now();
        let request = model.request(&features, Task::Caption);
        let answer = request.num_beams(1).max_new_tokens(1).run().unwrap();
        let generate = answer.timings.generate.as_secs_f64() * 1e6;
        drop(black_box(answer));
        let took = microseconds(started);
        all.push(took);
        outside.push(took - generate);
    }
    println!("run {}\noutside {}", median(all), median(outside));
}
