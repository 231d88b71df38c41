//! Parses a pickle into a graph of values. Nothing is imported and nothing is called: a call is a
//! node with the function's name and arguments.

use std::collections::HashMap;
use std::io::{BufRead, Read};

use super::graph::{Graph, Node, Value};

/// The maximum size of a pickle in bytes. Tensors are stored outside it.
const MAX_LENGTH: u64 = 1 << 26;

/// The maximum number of values, memo entries or stack entries.
const MAX_VALUES: usize = 1 << 21;

/// The maximum length of the line of a text opcode, in bytes.
const MAX_LINE: usize = 1 << 12;

/// The error of a pickle that cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PickleError {
    #[error("byte {position} of the pickle: {source}")]
    Io {
        position: u64,
        source: std::io::Error,
    },
    #[error("byte {position} of the pickle: {reason}")]
    Malformed { position: u64, reason: String },
}

type Result<T> = std::result::Result<T, PickleError>;

/// Reads one pickle, and returns its values and its length in bytes.
pub(crate) fn read_graph(input: impl BufRead) -> Result<(Graph, u64)> {
    let mut machine = Machine {
        input: Input { input, position: 0 },
        nodes: Vec::new(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
    };
    let top = machine.run()?;
    let graph = Graph {
        nodes: machine.nodes,
        top,
    };
    Ok((graph, machine.input.position))
}

/// The bytes of a pickle.
struct Input<R> {
    input: R,
    position: u64,
}

impl<R: BufRead> Input<R> {
    fn malformed(&self, reason: impl Into<String>) -> PickleError {
        PickleError::Malformed {
            position: self.position,
            reason: reason.into(),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        let read = self.input.read_exact(&mut bytes);
        read.map_err(|source| PickleError::Io {
            position: self.position,
            source,
        })?;
        self.position += N as u64;
        if self.position > MAX_LENGTH {
            return Err(self.too_long());
        }
        Ok(bytes)
    }

    fn byte(&mut self) -> Result<u8> {
        Ok(self.array::<1>()?[0])
    }

    fn u16(&mut self) -> Result<u16> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// Reads `length` bytes. The memory grows with the bytes that exist, not with `length`.
    fn bytes(&mut self, length: u64) -> Result<Vec<u8>> {
        if length > MAX_LENGTH - self.position {
            return Err(self.too_long());
        }
        let mut bytes = Vec::new();
        let read = self.input.by_ref().take(length).read_to_end(&mut bytes);
        read.map_err(|source| PickleError::Io {
            position: self.position,
            source,
        })?;
        if bytes.len() as u64 != length {
            return Err(self.malformed(format!("found the end, expected {length} bytes")));
        }
        self.position += length;
        Ok(bytes)
    }

    fn text(&mut self, length: u64) -> Result<String> {
        let bytes = self.bytes(length)?;
        // Python 2's strings are bytes; those of a state dict are ASCII.
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn line(&mut self) -> Result<String> {
        let mut line = Vec::new();
        loop {
            match self.byte()? {
                b'\n' => return Ok(String::from_utf8_lossy(&line).into_owned()),
                byte => line.push(byte),
            }
            if line.len() > MAX_LINE {
                return Err(self.malformed(format!("a line of more than {MAX_LINE} bytes")));
            }
        }
    }

    fn too_long(&self) -> PickleError {
        self.malformed(format!("expected at most {MAX_LENGTH} bytes"))
    }
}

/// The pickle machine.
struct Machine<R> {
    input: Input<R>,
    nodes: Vec<Node>,
    stack: Vec<Value>,
    /// The lengths of the stack at the open marks.
    marks: Vec<usize>,
    memo: HashMap<u64, Value>,
}

impl<R: BufRead> Machine<R> {
    fn run(&mut self) -> Result<Value> {
        loop {
            let opcode = self.input.byte()?;
            if opcode == b'.' {
                return self.pop();
            }
            self.step(opcode)?;
            let used = [
                self.nodes.len(),
                self.stack.len(),
                self.marks.len(),
                self.memo.len(),
            ];
            if used.iter().any(|used| *used > MAX_VALUES) {
                let reason = format!("expected at most {MAX_VALUES} values");
                return Err(self.input.malformed(reason));
            }
        }
    }

    fn step(&mut self, opcode: u8) -> Result<()> {
        match opcode {
            // PROTO and FRAME. Their arguments are not needed otherwise.
            0x80 => {
                let protocol = self.input.byte()?;
                if protocol > 5 {
                    let reason = format!("found protocol {protocol}, expected at most 5");
                    return Err(self.input.malformed(reason));
                }
            }
            0x95 => {
                self.input.u64()?;
            }
            // MARK, POP, POP_MARK, DUP
            b'(' => self.marks.push(self.stack.len()),
            b'0' => {
                self.pop()?;
            }
            b'1' => {
                self.pop_mark()?;
            }
            b'2' => {
                let top = self.top()?;
                self.stack.push(top);
            }
            b'N' => self.stack.push(Value::None),
            0x88 => self.stack.push(Value::Bool(true)),
            0x89 => self.stack.push(Value::Bool(false)),
            b'I' | b'J' | b'K' | b'M' | b'L' | 0x8a | 0x8b => self.integer(opcode)?,
            // BINFLOAT
            b'G' => {
                self.input.u64()?;
                self.stack.push(Value::Other);
            }
            b'T' | b'U' | b'X' | 0x8c | 0x8d => self.text(opcode)?,
            b'B' | b'C' | 0x8e | 0x96 => self.raw_bytes(opcode)?,
            b')' | b't' | 0x85..=0x87 => self.tuple(opcode)?,
            b']' | b'l' | b'a' | b'e' | 0x8f | 0x90 | 0x91 => self.list(opcode)?,
            b'}' | b'd' | b's' | b'u' => self.dict(opcode)?,
            b'c' | 0x93 => self.global(opcode)?,
            b'R' | 0x81 | 0x92 | b'b' | b'Q' => self.object(opcode)?,
            b'q' | b'r' | b'h' | b'j' | 0x94 => self.memo(opcode)?,
            _ => {
                let reason = format!("found opcode 0x{opcode:02x}, which no state dict needs");
                return Err(self.input.malformed(reason));
            }
        }
        Ok(())
    }

    /// INT, BININT, BININT1, BININT2, LONG, LONG1, LONG4.
    fn integer(&mut self, opcode: u8) -> Result<()> {
        let value = match opcode {
            b'J' => Value::Int(i64::from(i32::from_le_bytes(self.input.array()?))),
            b'K' => Value::Int(i64::from(self.input.byte()?)),
            b'M' => Value::Int(i64::from(self.input.u16()?)),
            b'I' | b'L' => {
                let line = self.input.line()?;
                match (opcode, line.as_str()) {
                    (b'I', "00") => Value::Bool(false),
                    (b'I', "01") => Value::Bool(true),
                    _ => self.decimal(line.trim_end_matches('L'))?,
                }
            }
            _ => {
                let length = match opcode {
                    0x8a => u64::from(self.input.byte()?),
                    _ => u64::from(self.input.u32()?),
                };
                let bytes = self.input.bytes(length)?;
                self.two_complement(bytes)
            }
        };
        self.stack.push(value);
        Ok(())
    }

    fn decimal(&mut self, digits: &str) -> Result<Value> {
        let Ok(value) = digits.parse::<i128>() else {
            let reason = format!("found `{digits}`, expected an integer");
            return Err(self.input.malformed(reason));
        };
        Ok(self.two_complement(value.to_le_bytes().to_vec()))
    }

    fn two_complement(&mut self, mut bytes: Vec<u8>) -> Value {
        let negative = bytes.last().is_some_and(|byte| *byte >= 0x80);
        let filler = if negative { 0xff } else { 0 };
        let mut short = [filler; 8];
        for (byte, stored) in short.iter_mut().zip(&bytes) {
            *byte = *stored;
        }
        let value = i64::from_le_bytes(short);
        let fits = bytes.iter().skip(8).all(|byte| *byte == filler) && (value < 0) == negative;
        if fits {
            return Value::Int(value);
        }
        while !negative && bytes.last() == Some(&0) {
            bytes.pop();
        }
        self.add(Node::LongInt(bytes))
    }

    /// BINSTRING, SHORT_BINSTRING, BINUNICODE, SHORT_BINUNICODE, BINUNICODE8.
    fn text(&mut self, opcode: u8) -> Result<()> {
        let length = match opcode {
            b'U' | 0x8c => u64::from(self.input.byte()?),
            b'T' | b'X' => u64::from(self.input.u32()?),
            _ => self.input.u64()?,
        };
        let text = self.input.text(length)?;
        self.push(Node::Text(text));
        Ok(())
    }

    /// BINBYTES, SHORT_BINBYTES, BINBYTES8, BYTEARRAY8.
    fn raw_bytes(&mut self, opcode: u8) -> Result<()> {
        let length = match opcode {
            b'C' => u64::from(self.input.byte()?),
            b'B' => u64::from(self.input.u32()?),
            _ => self.input.u64()?,
        };
        self.input.bytes(length)?;
        self.stack.push(Value::Other);
        Ok(())
    }

    /// EMPTY_TUPLE, TUPLE, TUPLE1, TUPLE2, TUPLE3.
    fn tuple(&mut self, opcode: u8) -> Result<()> {
        let values = match opcode {
            b')' => Vec::new(),
            b't' => self.pop_mark()?,
            _ => self.pop_many(usize::from(opcode - 0x84))?,
        };
        self.push(Node::Tuple(values));
        Ok(())
    }

    /// EMPTY_LIST, LIST, APPEND, APPENDS, and EMPTY_SET, ADDITEMS and FROZENSET: sets are
    /// represented as lists.
    fn list(&mut self, opcode: u8) -> Result<()> {
        match opcode {
            b']' | 0x8f => self.push(Node::List(Vec::new())),
            b'l' | 0x91 => {
                let values = self.pop_mark()?;
                self.push(Node::List(values));
            }
            _ => {
                let added = match opcode {
                    b'a' => self.pop_many(1)?,
                    _ => self.pop_mark()?,
                };
                match self.top_node()? {
                    Some(Node::List(values)) => values.extend(added),
                    // A subclass of list.
                    Some(Node::Call { .. }) => {}
                    _ => return Err(self.input.malformed("expected a list to extend")),
                }
            }
        }
        Ok(())
    }

    /// EMPTY_DICT, DICT, SETITEM, SETITEMS.
    fn dict(&mut self, opcode: u8) -> Result<()> {
        let added = match opcode {
            b'}' => {
                self.push(Node::Dict(Vec::new()));
                return Ok(());
            }
            b's' => self.pop_many(2)?,
            _ => self.pop_mark()?,
        };
        let (pairs, []) = added.as_chunks::<2>() else {
            return Err(self.input.malformed("found a key without its value"));
        };
        let pairs = pairs.iter().map(|[key, value]| (*key, *value));
        if opcode == b'd' {
            let pairs = pairs.collect();
            self.push(Node::Dict(pairs));
            return Ok(());
        }
        match self.top_node()? {
            Some(Node::Dict(items) | Node::Call { items, .. }) => items.extend(pairs),
            _ => return Err(self.input.malformed("expected a dictionary to fill")),
        }
        Ok(())
    }

    /// GLOBAL, STACK_GLOBAL.
    fn global(&mut self, opcode: u8) -> Result<()> {
        let (module, name) = match opcode {
            b'c' => (self.input.line()?, self.input.line()?),
            _ => {
                let names = self.pop_many(2)?;
                match (self.text_of(names[0]), self.text_of(names[1])) {
                    (Some(module), Some(name)) => (module.to_owned(), name.to_owned()),
                    _ => return Err(self.input.malformed("expected the name of a global")),
                }
            }
        };
        if module.len() > MAX_LINE || name.len() > MAX_LINE {
            let reason = format!("a global's name of more than {MAX_LINE} bytes");
            return Err(self.input.malformed(reason));
        }
        self.push(Node::Global { module, name });
        Ok(())
    }

    /// REDUCE, NEWOBJ, NEWOBJ_EX, BUILD, BINPERSID.
    fn object(&mut self, opcode: u8) -> Result<()> {
        match opcode {
            b'Q' => {
                let id = self.pop()?;
                self.push(Node::Persistent(id));
                return Ok(());
            }
            // BUILD sets the attributes of an object, which no tensor depends on.
            b'b' => {
                self.pop()?;
                self.top()?;
                return Ok(());
            }
            0x92 => {
                self.pop()?;
            }
            _ => {}
        }
        let arguments = self.pop()?;
        let function = self.pop()?;
        self.push(Node::Call {
            function,
            arguments,
            items: Vec::new(),
        });
        Ok(())
    }

    /// BINPUT, LONG_BINPUT, MEMOIZE, BINGET, LONG_BINGET.
    fn memo(&mut self, opcode: u8) -> Result<()> {
        let index = match opcode {
            b'q' | b'h' => u64::from(self.input.byte()?),
            b'r' | b'j' => u64::from(self.input.u32()?),
            _ => self.memo.len() as u64,
        };
        if matches!(opcode, b'h' | b'j') {
            let Some(value) = self.memo.get(&index) else {
                let reason = format!("memo entry {index} is read before it is written");
                return Err(self.input.malformed(reason));
            };
            self.stack.push(*value);
        } else {
            let top = self.top()?;
            self.memo.insert(index, top);
        }
        Ok(())
    }

    fn add(&mut self, node: Node) -> Value {
        self.nodes.push(node);
        Value::Node(self.nodes.len() - 1)
    }

    fn push(&mut self, node: Node) {
        let value = self.add(node);
        self.stack.push(value);
    }

    /// The number of values above the last mark.
    fn available(&self) -> usize {
        self.stack.len() - self.marks.last().copied().unwrap_or(0)
    }

    fn top(&self) -> Result<Value> {
        match self.stack.last() {
            Some(value) if self.available() > 0 => Ok(*value),
            _ => Err(self.input.malformed("the stack is empty")),
        }
    }

    fn top_node(&mut self) -> Result<Option<&mut Node>> {
        match self.top()? {
            Value::Node(index) => Ok(self.nodes.get_mut(index)),
            _ => Ok(None),
        }
    }

    fn text_of(&self, value: Value) -> Option<&str> {
        match value {
            Value::Node(index) => match self.nodes.get(index) {
                Some(Node::Text(text)) => Some(text),
                _ => None,
            },
            _ => None,
        }
    }

    fn pop(&mut self) -> Result<Value> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    fn pop_many(&mut self, count: usize) -> Result<Vec<Value>> {
        if self.available() < count {
            return Err(self.input.malformed("the stack is empty"));
        }
        Ok(self.stack.split_off(self.stack.len() - count))
    }

    /// Removes the values above the last mark, and the mark.
    fn pop_mark(&mut self) -> Result<Vec<Value>> {
        match self.marks.pop() {
            Some(mark) => Ok(self.stack.split_off(mark)),
            None => Err(self.input.malformed("expected a mark on the stack")),
        }
    }
}
