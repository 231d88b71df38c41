//! `florence2 tasks`.

use florence2::Task;

pub(crate) fn print() {
    for task in Task::ALL {
        println!("{:38} {}", task.token(), task.prompt_template());
    }
}
