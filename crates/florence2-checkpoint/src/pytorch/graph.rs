//! The values of a pickle as a graph.

/// A value of a pickle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value {
    None,
    Bool(bool),
    Int(i64),
    /// A value that is irrelevant to state dicts: a float or raw bytes.
    Other,
    /// The index of a node of the graph.
    Node(usize),
}

/// A value that contains other values or a text.
#[derive(Debug)]
pub(super) enum Node {
    Text(String),
    /// An integer of more than 64 bits: little-endian two's complement.
    LongInt(Vec<u8>),
    Tuple(Vec<Value>),
    List(Vec<Value>),
    Dict(Vec<(Value, Value)>),
    /// A class or function.
    Global {
        module: String,
        name: String,
    },
    /// The object that a class or function would return.
    Call {
        function: Value,
        arguments: Value,
        /// The entries that are added to a dictionary after the call.
        items: Vec<(Value, Value)>,
    },
    /// An object outside the pickle, with its id.
    Persistent(Value),
}

/// The values of a pickle.
#[derive(Debug)]
pub(super) struct Graph {
    pub(super) nodes: Vec<Node>,
    /// The pickled object.
    pub(super) top: Value,
}

impl Graph {
    pub(super) fn node(&self, value: Value) -> Option<&Node> {
        match value {
            Value::Node(index) => self.nodes.get(index),
            _ => None,
        }
    }

    pub(super) fn text(&self, value: Value) -> Option<&str> {
        match self.node(value)? {
            Node::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn tuple(&self, value: Value) -> Option<&[Value]> {
        match self.node(value)? {
            Node::Tuple(values) => Some(values),
            _ => None,
        }
    }

    pub(super) fn list(&self, value: Value) -> Option<&[Value]> {
        match self.node(value)? {
            Node::List(values) => Some(values),
            _ => None,
        }
    }

    /// The module and the name of a class or function.
    pub(super) fn global(&self, value: Value) -> Option<(&str, &str)> {
        match self.node(value)? {
            Node::Global { module, name } => Some((module, name)),
            _ => None,
        }
    }

    /// The function's module and name, and the arguments.
    pub(super) fn call(&self, value: Value) -> Option<(&str, &str, &[Value])> {
        match self.node(value)? {
            Node::Call {
                function,
                arguments,
                ..
            } => {
                let (module, name) = self.global(*function)?;
                Some((module, name, self.tuple(*arguments)?))
            }
            _ => None,
        }
    }
}
