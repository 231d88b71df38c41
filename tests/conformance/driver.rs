//! Runs the cases of cases.json with the facade: `driver CASES MODEL_FOLDER`. Prints one JSON object
//! per line.
#![allow(clippy::unwrap_used)]

use std::ops::ControlFlow;
use std::path::Path;
use std::thread;
use std::time::Duration;

use florence2::{
    Answer, Coordinates, Error, Florence2, Image, ImageInput, LoadOptions, ModelError, Prompt,
    Request, Result, RunEvent, RunOptions, TaskInput, error_chain,
};
use serde_json::{Value, json};

fn answer_of(answer: &Answer) -> Value {
    let texts = answer.alternatives.iter().map(|other| &other.text);
    json!({
        "text": answer.text,
        "token_ids": answer.token_ids,
        "sequence_score": answer.sequence_score,
        "regions": answer.regions,
        "alternatives": texts.collect::<Vec<_>>(),
    })
}

fn prompt_of(asked: &Value) -> Result<Prompt> {
    let Some(task) = asked["task"].as_str() else {
        return Ok(Prompt::parse(asked["prompt"].as_str().unwrap())?);
    };
    let text = asked["input"]
        .as_str()
        .map(|text| TaskInput::Text(text.to_owned()));
    let region = serde_json::from_value(asked["region"].clone())
        .ok()
        .map(TaskInput::Region);
    Ok(Prompt::Task {
        task: task.parse()?,
        input: text.or(region),
    })
}

fn is_cancelled(error: &Error) -> bool {
    matches!(error, Error::Model(ModelError::Cancelled))
}

fn is_expired(error: &Error) -> bool {
    matches!(error, Error::Model(ModelError::DeadlineExceeded))
}

struct Driver<'a> {
    folder: &'a Path,
    model: Florence2,
}

impl Driver<'_> {
    fn say(&self, asked: &Value) -> Result<Value> {
        let call = asked["call"].as_str().unwrap();
        if call == "load" {
            let directory = asked["directory"].as_str().map_or(self.folder, Path::new);
            let device = asked["device"].as_str().unwrap_or("auto");
            Florence2::load_with(directory, &LoadOptions::default().device(device))?;
            return Ok(json!({}));
        }
        let requests = asked["requests"].as_array().unwrap();
        let mut images = Vec::new();
        let mut features = Vec::new();
        for request in requests {
            let path = self
                .folder
                .join("scenes")
                .join(request["image"].as_str().unwrap());
            let image = Image::open(path)?;
            if asked["encode_first"] == true {
                features.push(self.model.encode_image(&image)?);
            }
            images.push(image);
        }
        let requests = requests.iter().enumerate().map(|(index, request)| {
            let image: ImageInput<'_> = match features.get(index) {
                Some(features) => features.into(),
                None => (&images[index]).into(),
            };
            Ok(Request::new(image, prompt_of(request)?))
        });
        self.ask(asked, call, &requests.collect::<Result<Vec<_>>>()?)
    }

    fn ask(&self, asked: &Value, call: &str, requests: &[Request<'_>]) -> Result<Value> {
        let after = Duration::from_millis(asked["after_ms"].as_u64().unwrap_or(0));
        let mut options = RunOptions::default().coordinates(Coordinates::HfIntegers);
        if let Some(generation) = asked.get("generation") {
            // Deserialisation rejects unknown options.
            options.generation = match serde_json::from_value(generation.clone()) {
                Ok(generation) => generation,
                Err(error) => return Ok(json!({ "error": error.to_string() })),
            };
        }
        match call {
            "score" => self.score(&requests[0], asked["target"].as_str().unwrap()),
            "stream" | "stop" => self.listen(requests, options, asked["stop_after"].as_u64()),
            "cancel" => {
                let cancel = options.cancel.clone();
                let firing = thread::spawn(move || {
                    thread::sleep(after);
                    cancel.cancel();
                });
                let ended = self.run(requests, options);
                firing.join().unwrap();
                Ok(json!({ "cancelled": ended.is_err_and(|error| is_cancelled(&error)) }))
            }
            "deadline" => {
                let ended = self.run(requests, options.timeout(after));
                Ok(json!({ "expired": ended.is_err_and(|error| is_expired(&error)) }))
            }
            _ => {
                let answers = self.run(requests, options)?;
                Ok(json!({ "answers": answers.iter().map(answer_of).collect::<Vec<_>>() }))
            }
        }
    }

    fn run(&self, requests: &[Request<'_>], options: RunOptions) -> Result<Vec<Answer>> {
        let batch = self.model.batch(requests.iter().cloned());
        batch.options(options).run_all()
    }

    fn score(&self, request: &Request<'_>, target: &str) -> Result<Value> {
        let request = self.model.request(request.image, request.prompt.clone());
        let score = request.score(target)?;
        let log_probs: Vec<f32> = score.tokens.iter().map(|token| token.log_prob).collect();
        Ok(json!({ "loss": score.loss, "log_probs": log_probs }))
    }

    fn listen(
        &self,
        requests: &[Request<'_>],
        options: RunOptions,
        stop_after: Option<u64>,
    ) -> Result<Value> {
        let mut streamed = String::new();
        let mut tokens = 0;
        let batch = self.model.batch(requests.iter().cloned()).options(options);
        let ended = batch.on_event(|event| {
            if let RunEvent::Token(token) = event {
                streamed += token.text;
                tokens += 1;
            }
            match Some(tokens) == stop_after {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        });
        match ended.run_all() {
            Err(error) if !is_cancelled(&error) => Err(error),
            _ => Ok(json!({ "streamed": streamed, "stopped": tokens })),
        }
    }
}

fn main() {
    let [_, cases, folder] = std::env::args().collect::<Vec<_>>().try_into().unwrap();
    let cases: Vec<Value> = serde_json::from_slice(&std::fs::read(cases).unwrap()).unwrap();
    let driver = Driver {
        folder: Path::new(&folder),
        model: Florence2::load(&folder).unwrap(),
    };
    for asked in cases {
        let mut said = match driver.say(&asked) {
            Ok(said) => said,
            Err(error) => json!({ "error": error_chain(&error) }),
        };
        said["name"] = asked["name"].clone();
        println!("{said}");
    }
}
