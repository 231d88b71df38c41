//! `florence2 tasks`: prints the tasks and their prompts.

use florence2::Task;

use crate::failure::Failure;
use crate::output::print;

pub(crate) fn tasks() -> Result<(), Failure> {
    Task::ALL.into_iter().try_for_each(|task| {
        let (token, prompt) = (task.token(), task.prompt_template());
        print(format_args!("{token:38} {prompt}"))
    })
}
