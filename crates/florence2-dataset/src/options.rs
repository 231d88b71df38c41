//! Options for opening a data set.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use florence2_postprocess::LabelStyle;
use florence2_processor::Task;
use serde::{Deserialize, Serialize};

use crate::error::Error;

/// The layout of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Format {
    /// maestro's: `annotations.jsonl` with the keys `image`, `prefix` and `suffix`, in the folder of the
    /// images.
    Jsonl,
    /// COCO JSON: instances or captions. Roboflow's `_annotations.coco.json` too.
    Coco,
    /// YOLO: `data.yaml`, and a `.txt` file of labels per image.
    Yolo,
    /// Images, each with a `.txt` file of the same name that has the suffix.
    Text,
}

impl Format {
    /// Every format, in the order in which they are tried.
    pub const ALL: [Self; 4] = [Self::Jsonl, Self::Coco, Self::Yolo, Self::Text];

    fn name(self) -> &'static str {
        match self {
            Self::Jsonl => "jsonl",
            Self::Coco => "coco",
            Self::Yolo => "yolo",
            Self::Text => "text",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Format {
    type Err = Error;

    /// Parses `jsonl`, `coco`, `yolo` or `text`.
    fn from_str(text: &str) -> Result<Self, Error> {
        let format = Self::ALL.into_iter().find(|format| format.name() == text);
        format.ok_or_else(|| Error::Option {
            option: "format",
            found: format!("`{text}`"),
            expected: "one of jsonl, coco, yolo, text".to_owned(),
        })
    }
}

/// A part of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// `train`.
    Train,
    /// `valid`, `val` or `validation`.
    Valid,
    /// `test`.
    Test,
}

impl Split {
    /// Every split.
    pub const ALL: [Self; 3] = [Self::Train, Self::Valid, Self::Test];

    /// The names of the split's folders and keys.
    pub fn names(self) -> &'static [&'static str] {
        match self {
            Self::Train => &["train"],
            Self::Valid => &["valid", "val", "validation"],
            Self::Test => &["test"],
        }
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.names()[0])
    }
}

impl FromStr for Split {
    type Err = Error;

    /// Parses one of [`Split::names`].
    fn from_str(text: &str) -> Result<Self, Error> {
        let split = Self::ALL
            .into_iter()
            .find(|split| split.names().contains(&text));
        split.ok_or_else(|| Error::Option {
            option: "split",
            found: format!("`{text}`"),
            expected: "one of train, valid, test".to_owned(),
        })
    }
}

/// Options of [`Dataset::open`](crate::Dataset::open).
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct DatasetOptions {
    /// The layout; `None` to detect it.
    pub format: Option<Format>,
    /// The split; `None` for the folder itself, or its training split if the folder itself is no data
    /// set.
    pub split: Option<Split>,
    /// COCO and YOLO: the task of which examples are made; `None` for `<OD>`, or `<CAPTION>` if the
    /// annotations are captions. Other formats: its token is the prefix of entries without one.
    pub task: Option<Task>,
    /// JSON lines and texts: the prefix of entries without one. It takes precedence over `task`.
    pub prefix: Option<String>,
    /// COCO: the folder of the images; `None` to search for it near the annotations.
    pub images: Option<PathBuf>,
    /// COCO and YOLO: how consecutive objects with the same label are written.
    pub label_style: LabelStyle,
    /// COCO and YOLO: whether images without objects are examples, with an empty suffix.
    pub keep_background: bool,
}

impl Default for DatasetOptions {
    fn default() -> Self {
        Self {
            format: None,
            split: None,
            task: None,
            prefix: None,
            images: None,
            label_style: LabelStyle::default(),
            keep_background: true,
        }
    }
}

impl DatasetOptions {
    /// Sets the layout.
    #[must_use]
    pub fn format(self, format: Format) -> Self {
        Self {
            format: Some(format),
            ..self
        }
    }

    /// Sets the split.
    #[must_use]
    pub fn split(self, split: Split) -> Self {
        Self {
            split: Some(split),
            ..self
        }
    }

    /// Sets the task.
    #[must_use]
    pub fn task(self, task: Task) -> Self {
        Self {
            task: Some(task),
            ..self
        }
    }

    /// Sets the prefix of entries without one.
    #[must_use]
    pub fn prefix(self, prefix: impl Into<String>) -> Self {
        Self {
            prefix: Some(prefix.into()),
            ..self
        }
    }

    /// Sets the folder of COCO's images.
    #[must_use]
    pub fn images(self, images: impl Into<PathBuf>) -> Self {
        Self {
            images: Some(images.into()),
            ..self
        }
    }

    /// Sets how consecutive objects with the same label are written.
    #[must_use]
    pub fn label_style(self, label_style: LabelStyle) -> Self {
        Self {
            label_style,
            ..self
        }
    }

    /// Sets whether images without objects are examples.
    #[must_use]
    pub fn keep_background(self, keep_background: bool) -> Self {
        Self {
            keep_background,
            ..self
        }
    }

    /// The prefix of entries without one.
    pub(crate) fn default_prefix(&self) -> Option<&str> {
        let token = self.task.map(Task::token);
        self.prefix.as_deref().or(token)
    }
}
