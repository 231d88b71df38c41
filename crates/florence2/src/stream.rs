//! Streams of images: the next batch is read and resized while the model runs on the current one.

use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::sync::mpsc;
use std::thread;

use florence2_processor::{Image, Prompt};
use rayon::ThreadPool;
use rayon::prelude::*;

use crate::answer::Answer;
use crate::device::is_cpu;
use crate::error::{Error, Result};
use crate::florence2::Florence2;
use crate::options::RunOptions;
use crate::pipeline::Preprocessed;
use crate::request::Request;
use crate::threads::check_process;

/// A batch whose images are read and preprocessed.
struct Batch<S> {
    items: Vec<(S, Result<(Image, Prompt)>)>,
    /// The images of `items` that could be read.
    preprocessed: Result<Preprocessed>,
}

impl Florence2 {
    /// Processes a stream of images in batches. While the model runs on one batch, the next is read
    /// and resized on other threads: on one thread if the model runs on the CPU, on one per
    /// processor if it runs on a GPU.
    ///
    /// `read` returns the image and the prompt of a source, such as a path. `answered` is called
    /// for each source, in order and on the caller's thread, and returns `Break` to stop. If a
    /// source cannot be read or answered, `answered` receives the error, and the other sources
    /// continue. A batch is processed when it is full or there are no more sources.
    ///
    /// ```no_run
    /// # use std::num::NonZeroUsize;
    /// # use std::ops::ControlFlow;
    /// # use florence2::{Florence2, Image, RunOptions, Task};
    /// let model = Florence2::load("Florence-2-base")?;
    /// model.feed(
    ///     ["street.jpg", "garden.jpg"],
    ///     NonZeroUsize::MIN,
    ///     &RunOptions::default(),
    ///     |path| Ok((Image::open(path)?, Task::Caption.into())),
    ///     |path, outcome| {
    ///         match outcome {
    ///             Ok((_, answer)) => println!("{path}: {}", answer.result.text),
    ///             Err(error) => eprintln!("{path}: {error}"),
    ///         }
    ///         ControlFlow::Continue(())
    ///     },
    /// )?;
    /// # Ok::<(), florence2::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Threads`] if the reader threads cannot be started,
    /// [`florence2_core::Error::Cancelled`].
    pub fn feed<S: Send>(
        &self,
        sources: impl IntoIterator<Item = S, IntoIter: Send>,
        batch_size: NonZeroUsize,
        options: &RunOptions,
        read: impl Fn(&S) -> Result<(Image, Prompt)> + Send + Sync,
        mut answered: impl FnMut(S, Result<(Image, Answer)>) -> ControlFlow<()>,
    ) -> Result<()> {
        let readers = self.readers()?;
        let mut sources = sources.into_iter();
        // The channel has no capacity: one batch is ready when the previous one is answered, and no
        // third one is read ahead.
        let (sender, batches) = mpsc::sync_channel(0);
        thread::scope(|scope| {
            scope.spawn(move || {
                loop {
                    let batch: Vec<S> = sources.by_ref().take(batch_size.get()).collect();
                    if batch.is_empty() {
                        return;
                    }
                    let batch = readers.install(|| self.read_batch(batch, &read));
                    // The receiver is dropped when `answered` or an error ends the loop.
                    if sender.send(batch).is_err() {
                        return;
                    }
                }
            });
            for batch in batches {
                options.cancel.check()?;
                if self.answer_batch(batch, options, &mut answered)?.is_break() {
                    break;
                }
            }
            Ok(())
        })
    }

    /// The threads that read and resize images.
    fn readers(&self) -> Result<ThreadPool> {
        let count = match is_cpu(self.device()) {
            true => 1,
            false => thread::available_parallelism().map_or(1, NonZeroUsize::get),
        };
        let readers = rayon::ThreadPoolBuilder::new()
            .num_threads(count)
            .thread_name(|index| format!("florence2-reader-{index}"));
        readers.build().map_err(|error| Error::Threads {
            found: count,
            reason: error.to_string(),
        })
    }

    fn read_batch<S: Send>(
        &self,
        sources: Vec<S>,
        read: impl Fn(&S) -> Result<(Image, Prompt)> + Sync,
    ) -> Batch<S> {
        let items: Vec<_> = sources
            .into_par_iter()
            .map(|source| {
                let item = read(&source);
                (source, item)
            })
            .collect();
        let images: Vec<&Image> = readable(&items).map(|(image, _)| image).collect();
        Batch {
            preprocessed: self.pipeline.preprocess(&images),
            items,
        }
    }

    /// Runs the model on a batch, and calls `answered` for each of its sources.
    fn answer_batch<S>(
        &self,
        batch: Batch<S>,
        options: &RunOptions,
        mut answered: impl FnMut(S, Result<(Image, Answer)>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>> {
        let requests: Vec<Request<'_>> = readable(&batch.items)
            .map(|(image, prompt)| Request::of_image(image, prompt.clone()))
            .collect();
        let answers = self.answers(&requests, batch.preprocessed, options)?;
        let mut answers = answers.into_iter();
        Ok(batch.items.into_iter().try_for_each(|(source, item)| {
            let outcome = item.and_then(|(image, _)| {
                // INVARIANT: one answer per readable image, in order.
                let answer = answers.next().expect("an answer per readable image")?;
                Ok((image, answer))
            });
            answered(source, outcome)
        }))
    }

    /// Returns the answer or the error of each request. If the batch fails, each request is run
    /// alone, so that only the invalid ones fail.
    fn answers(
        &self,
        requests: &[Request<'_>],
        preprocessed: Result<Preprocessed>,
        options: &RunOptions,
    ) -> Result<Vec<Result<Answer>>> {
        let answers = preprocessed
            .and_then(|preprocessed| self.run_preprocessed(requests, preprocessed, options));
        let error = match answers {
            Ok(answers) => return Ok(answers.into_iter().map(Ok).collect()),
            Err(error) => error,
        };
        options.cancel.check()?;
        if requests.len() == 1 {
            return Ok(vec![Err(error)]);
        }
        let answers = requests
            .iter()
            .map(|request| self.run_request(request.clone(), options));
        Ok(answers.collect())
    }

    fn run_preprocessed(
        &self,
        requests: &[Request<'_>],
        preprocessed: Preprocessed,
        options: &RunOptions,
    ) -> Result<Vec<Answer>> {
        check_process()?;
        if requests.is_empty() {
            return Ok(Vec::new());
        }
        self.threads.install(|| {
            self.pipeline
                .run_preprocessed(requests, preprocessed, options)
        })
    }
}

/// The images and prompts that could be read, in order.
fn readable<S>(items: &[(S, Result<(Image, Prompt)>)]) -> impl Iterator<Item = &(Image, Prompt)> {
    items.iter().filter_map(|(_, item)| item.as_ref().ok())
}
