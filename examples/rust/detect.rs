//! Finds objects in an image:   detect IMAGE [MODEL_FOLDER]

use florence2::{Florence2, Image, Task};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let image = arguments
        .next()
        .ok_or("usage: detect IMAGE [MODEL_FOLDER]")?;
    let folder = arguments.next().unwrap_or("assets/demo-model".to_owned());

    let model = Florence2::load(folder)?;
    let answer = model.run(&Image::open(image)?, Task::ObjectDetection)?;
    for region in &answer.regions {
        println!("{} {:.0?}", region.label, region.shape.points());
    }
    Ok(())
}
