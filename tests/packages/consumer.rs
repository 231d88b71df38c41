//! Finds objects with the demo model:   consumer IMAGE

use florence2::{Florence2, Image, Task};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("usage: consumer IMAGE")?;
    let model = Florence2::demo()?;
    let answer = model.run(&Image::open(path)?, Task::ObjectDetection)?;
    println!("{answer:?}");
    Ok(())
}
