//! Finds objects with the demo model, and prints them as examples/c/detect.c does:   consumer IMAGE

use florence2::{Florence2, Image, Task};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("usage: consumer IMAGE")?;
    let model = Florence2::demo()?;
    let answer = model.run(&Image::open(path)?, Task::ObjectDetection)?;
    for region in answer.regions {
        let score = region.score.ok_or("found no score")?.overall;
        let corners = region.shape.bounding_box();
        println!(
            "{:3.0} %  {:<20} ({:.0}, {:.0}) ({:.0}, {:.0})",
            100. * score,
            region.label,
            corners.x1,
            corners.y1,
            corners.x2,
            corners.y2
        );
    }
    Ok(())
}
