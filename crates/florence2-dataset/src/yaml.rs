//! The part of YAML that `data.yaml` of YOLO uses: mappings, sequences and scalars.

use saphyr_parser::{Event, Parser, ScalarStyle};

/// The maximum depth of nested values.
const MAX_DEPTH: usize = 32;

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Node {
    Null,
    Scalar(String),
    Sequence(Vec<Node>),
    Mapping(Vec<(String, Node)>),
}

impl Node {
    /// The value of a key; `None` if this is no mapping, or the key is missing or null.
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        let Self::Mapping(entries) = self else {
            return None;
        };
        let entry = entries.iter().find(|(name, _)| name == key);
        entry
            .map(|(_, value)| value)
            .filter(|value| **value != Self::Null)
    }

    /// The kind of value, for error messages.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Null => "null".to_owned(),
            Self::Scalar(text) => format!("`{text}`"),
            Self::Sequence(_) => "a list".to_owned(),
            Self::Mapping(_) => "a mapping".to_owned(),
        }
    }
}

/// A sequence or a mapping that is not complete.
enum Open {
    Sequence(Vec<Node>),
    /// The entries, and the key whose value follows.
    Mapping(Vec<(String, Node)>, Option<String>),
}

/// Parses the first document of a text.
///
/// # Errors
/// What was found: a syntax error with its line, an alias, a key that is no scalar, or values nested
/// too deeply.
pub(crate) fn parse(text: &str) -> Result<Node, String> {
    let mut stack: Vec<Open> = Vec::new();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| format!("invalid YAML: {error}"))?;
        let line = span.start.line();
        let complete = match event {
            Event::Scalar(text, style, ..) => scalar(&text, style),
            Event::SequenceStart(..) => {
                stack.push(Open::Sequence(Vec::new()));
                check_depth(&stack, line)?;
                continue;
            }
            Event::MappingStart(..) => {
                stack.push(Open::Mapping(Vec::new(), None));
                check_depth(&stack, line)?;
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => match stack.pop() {
                Some(Open::Sequence(items)) => Node::Sequence(items),
                Some(Open::Mapping(entries, _)) => Node::Mapping(entries),
                None => continue,
            },
            Event::Alias(_) => return Err(format!("an alias in line {line}")),
            _ => continue,
        };
        match stack.last_mut() {
            None => return Ok(complete),
            Some(Open::Sequence(items)) => items.push(complete),
            Some(Open::Mapping(entries, key)) => match (key.take(), complete) {
                (Some(key), value) => entries.push((key, value)),
                (None, Node::Scalar(text)) => *key = Some(text),
                (None, other) => {
                    return Err(format!("{} as a key in line {line}", other.describe()));
                }
            },
        }
    }
    Ok(Node::Null)
}

fn check_depth(stack: &[Open], line: usize) -> Result<(), String> {
    if stack.len() > MAX_DEPTH {
        return Err(format!(
            "values nested more than {MAX_DEPTH} deep in line {line}"
        ));
    }
    Ok(())
}

fn scalar(text: &str, style: ScalarStyle) -> Node {
    if style == ScalarStyle::Plain && matches!(text, "" | "~" | "null" | "Null" | "NULL") {
        return Node::Null;
    }
    Node::Scalar(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_both_styles() {
        let text =
            "path: ../cards  # root\nval:\nnames: {0: ace, 1: 'the: king'}\ntrain:\n- a\n- b\n";
        let node = parse(text).unwrap();
        assert_eq!(node.get("path"), Some(&Node::Scalar("../cards".to_owned())));
        assert_eq!(node.get("val"), None);
        let scalar = |text: &str| Node::Scalar(text.to_owned());
        let names = vec![
            ("0".to_owned(), scalar("ace")),
            ("1".to_owned(), scalar("the: king")),
        ];
        assert_eq!(node.get("names"), Some(&Node::Mapping(names)));
        assert_eq!(
            node.get("train"),
            Some(&Node::Sequence(vec![scalar("a"), scalar("b")]))
        );
        assert_eq!(parse("").unwrap(), Node::Null);
    }

    #[test]
    fn faults_are_errors() {
        let deep = "[".repeat(100_000);
        let flat = format!("{}{}", "- ".repeat(100), "x");
        for text in [
            "a: &x [1]\nb: *x\n",
            "? [a]\n: b\n",
            "a: [1\nb: 2\n",
            "a: 'x",
            &deep,
            &flat,
        ] {
            assert!(parse(text).is_err(), "{}", &text[..text.len().min(20)]);
        }
    }
}
