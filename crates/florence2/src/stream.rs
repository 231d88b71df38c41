//! Streams of images: the next batch is read and resized while the model runs on the current one.

use std::fmt;
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
use crate::pipeline::Preprocessed;
use crate::request::Request;
use crate::run_options::{RunOptions, run_setters};
use crate::threads::check_process;

/// A stream of images with its options. [`Florence2::stream`] creates it, [`run`](Self::run) runs it.
#[must_use = "a stream does nothing until `run` is called"]
pub struct StreamBuilder<'a, I, F> {
    model: &'a Florence2,
    sources: I,
    read: F,
    batch_size: usize,
    options: RunOptions,
}

/// A batch whose images are read and preprocessed.
struct Batch<S> {
    items: Vec<(S, Result<(Image, Prompt)>)>,
    /// The images of `items` that could be read.
    preprocessed: Result<Preprocessed>,
}

impl Florence2 {
    /// Creates a stream that processes any number of images in batches. `read` returns the image and
    /// the prompt of a source, such as a path. While the model runs on one batch, the next is read
    /// and resized on other threads: on one thread if the model runs on the CPU, on one per
    /// processor if it runs on a GPU.
    ///
    /// ```no_run
    /// use std::ops::ControlFlow;
    ///
    /// use florence2::{Florence2, Image, Task, error_chain};
    ///
    /// let model = Florence2::load("Florence-2-base")?;
    /// model
    ///     .stream(["street.jpg", "garden.jpg"], |path| Ok((Image::open(path)?, Task::Caption)))
    ///     .batch_size(8)
    ///     .run(|path, outcome| {
    ///         match outcome {
    ///             Ok((_image, answer)) => println!("{path}: {}", answer.text),
    ///             Err(error) => eprintln!("{}", error_chain(&error)),
    ///         }
    ///         ControlFlow::Continue(())
    ///     })?;
    /// # Ok::<(), florence2::Error>(())
    /// ```
    pub fn stream<S, P, I, F>(&self, sources: I, read: F) -> StreamBuilder<'_, I::IntoIter, F>
    where
        S: Send,
        P: Into<Prompt>,
        I: IntoIterator<Item = S, IntoIter: Send>,
        F: Fn(&S) -> Result<(Image, P)> + Send + Sync,
    {
        StreamBuilder {
            model: self,
            sources: sources.into_iter(),
            read,
            batch_size: 1,
            options: RunOptions::default(),
        }
    }
}

impl<I, F> StreamBuilder<'_, I, F> {
    /// Processes the stream. `answered` is called for each source, in order and on this thread, and
    /// returns `Break` to stop. If a source cannot be read or answered, `answered` receives the
    /// error, and the other sources continue. A batch is processed when it is full or there are no
    /// more sources.
    ///
    /// # Errors
    /// [`Error::Model`] if the batch size is 0, if an option is invalid, or if the run is cancelled or
    /// exceeds its deadline.
    /// [`Error::Threads`] if the reader threads cannot be started.
    pub fn run<S, P>(
        self,
        mut answered: impl FnMut(S, Result<(Image, Answer)>) -> ControlFlow<()>,
    ) -> Result<()>
    where
        S: Send,
        P: Into<Prompt>,
        I: Iterator<Item = S> + Send,
        F: Fn(&S) -> Result<(Image, P)> + Send + Sync,
    {
        let Self {
            model,
            mut sources,
            read,
            batch_size,
            options,
        } = self;
        if batch_size == 0 {
            return Err(Error::argument("batch_size", "0", "at least 1"));
        }
        model.check_options(&options)?;
        let options = options.started();
        let readers = model.readers()?;
        let read = |source: &S| read(source).map(|(image, prompt)| (image, prompt.into()));
        // The channel has no capacity: one batch is ready when the previous one is answered, and no
        // third one is read ahead.
        let (sender, batches) = mpsc::sync_channel(0);
        thread::scope(|scope| {
            scope.spawn(move || {
                loop {
                    let batch: Vec<S> = sources.by_ref().take(batch_size).collect();
                    if batch.is_empty() {
                        return;
                    }
                    let batch = readers.install(|| model.read_batch(batch, read));
                    // The receiver is dropped when `answered` or an error ends the loop.
                    if sender.send(batch).is_err() {
                        return;
                    }
                }
            });
            for batch in batches {
                options.cancel.check()?;
                let ended = model.answer_batch(batch, &options, &mut answered)?;
                if ended.is_break() {
                    break;
                }
            }
            Ok(())
        })
    }

    /// Sets the number of images that the model processes at once. The default is 1.
    pub fn batch_size(mut self, batch_size: usize) -> Self {
        self.batch_size = batch_size;
        self
    }

    run_setters!(options);
}

/// Shows the batch size and the options.
impl<I, F> fmt::Debug for StreamBuilder<'_, I, F> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("StreamBuilder")
            .field("batch_size", &self.batch_size)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Florence2 {
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
            .map(|(image, prompt)| Request::new(image, prompt.clone()))
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
        let answers = requests.iter().map(|request| {
            let request = Request::clone(request);
            self.request(request.image, request.prompt)
                .options(options.clone())
                .run()
        });
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
        let prompts = self.pipeline.prompts(requests)?;
        self.threads.install(|| {
            self.pipeline
                .run_preprocessed(requests, &prompts, preprocessed, options)
        })
    }
}

/// The images and prompts that could be read, in order.
fn readable<S>(items: &[(S, Result<(Image, Prompt)>)]) -> impl Iterator<Item = &(Image, Prompt)> {
    items.iter().filter_map(|(_, item)| item.as_ref().ok())
}
