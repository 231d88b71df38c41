//! The tensors of a pickled state dict, as torch's functions would rebuild them.

use std::collections::BTreeMap;

use super::graph::{Graph, Node, Value};
use crate::tensor::{Layout, Strides};

/// The maximum number of dimensions of a torch tensor.
const MAX_RANK: usize = 64;

/// The maximum number of values of a tensor beyond those of its storage (`Tensor.expand` repeats
/// values).
const MAX_REPEATED: u64 = 1 << 24;

/// The maximum number of functions around the function that creates a tensor (`_rebuild_parameter`
/// and others).
const MAX_WRAPPERS: usize = 8;

/// A number type of torch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dtype {
    /// The name in safetensors.
    pub(crate) name: &'static str,
    /// Bytes per value.
    pub(crate) size: u64,
}

/// The dtypes of torch: their names, their storage classes, their names in safetensors and their
/// bytes per value.
const DTYPES: [(&str, &str, &str, u64); 18] = [
    ("float64", "DoubleStorage", "F64", 8),
    ("float32", "FloatStorage", "F32", 4),
    ("float16", "HalfStorage", "F16", 2),
    ("bfloat16", "BFloat16Storage", "BF16", 2),
    ("float8_e4m3fn", "", "F8_E4M3", 1),
    ("float8_e5m2", "", "F8_E5M2", 1),
    ("float8_e4m3fnuz", "", "F8_E4M3FNUZ", 1),
    ("float8_e5m2fnuz", "", "F8_E5M2FNUZ", 1),
    ("int64", "LongStorage", "I64", 8),
    ("int32", "IntStorage", "I32", 4),
    ("int16", "ShortStorage", "I16", 2),
    ("int8", "CharStorage", "I8", 1),
    ("uint8", "ByteStorage", "U8", 1),
    ("bool", "BoolStorage", "BOOL", 1),
    ("uint64", "", "U64", 8),
    ("uint32", "", "U32", 4),
    ("uint16", "", "U16", 2),
    ("complex64", "ComplexFloatStorage", "C64", 8),
];

/// The element type of a storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    Bytes,
    Values(Dtype),
}

/// A storage outside the pickle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StorageId<'a> {
    pub(crate) key: &'a str,
    content: Content,
    /// The length in values.
    length: u64,
    /// The index of the first value, for a view of a storage. Only used in torch's older format.
    first: u64,
}

impl StorageId<'_> {
    /// Bytes per value.
    pub(crate) fn value_size(&self) -> u64 {
        match self.content {
            Content::Bytes => 1,
            Content::Values(dtype) => dtype.size,
        }
    }

    /// The number of bytes that the stored data must have; `None` on overflow.
    pub(crate) fn bytes(&self) -> Option<u64> {
        let values = self.first.checked_add(self.length)?;
        values.checked_mul(self.value_size())
    }
}

/// A tensor of a state dict.
pub(crate) struct TensorRecord<'a> {
    pub(crate) storage: StorageId<'a>,
    pub(crate) dtype: Dtype,
    pub(crate) layout: Layout,
}

/// Reads the tensors of a pickled dictionary by their keys. A tensor that cannot be read has the
/// reason in its place. Values that are not tensors, such as an epoch or an optimizer's state, are
/// skipped.
///
/// The error is a reason without the file's name.
pub(crate) fn read_records(graph: &Graph) -> Result<Records<'_>, String> {
    let Some(items) = dictionary(graph, graph.top) else {
        let found = match graph.node(graph.top) {
            Some(Node::Call { function, .. }) => match graph.global(*function) {
                Some((module, name)) => format!("an object of {module}.{name}"),
                None => "an object".to_owned(),
            },
            Some(Node::List(_) | Node::Tuple(_)) => "a list".to_owned(),
            _ => "another value".to_owned(),
        };
        return Err(format!(
            "found {found}, expected a dictionary of tensors, as torch.save(model.state_dict(), ..) writes it"
        ));
    };
    let records = tensor_records(graph, &items);
    if !records.is_empty() {
        return Ok(records);
    }
    let is_nested = |value: Value| {
        let items = dictionary(graph, value).unwrap_or_default();
        !tensor_records(graph, &items).is_empty()
    };
    let nested = items.iter().filter(|(_, value)| is_nested(*value));
    let nested: Vec<&str> = nested.filter_map(|(key, _)| graph.text(*key)).collect();
    if let Some(first) = nested.first() {
        let keys = nested.join("`, `");
        return Err(format!(
            "found tensors below the key `{keys}`, expected them at the top: torch.save(checkpoint[\"{first}\"], ..) writes such a file"
        ));
    }
    Err("found a dictionary without tensors, expected a state dict".to_owned())
}

/// Tensors by their keys.
pub(crate) type Records<'a> = BTreeMap<String, Result<TensorRecord<'a>, String>>;

fn tensor_records<'a>(graph: &'a Graph, items: &[(Value, Value)]) -> Records<'a> {
    let tensors = items.iter().filter_map(|(key, value)| {
        let key = graph.text(*key)?;
        let (module, name, arguments) = graph.call(*value)?;
        is_rebuild_function(module, name).then(|| {
            let record = tensor(graph, module, name, arguments, MAX_WRAPPERS);
            (key.to_owned(), record)
        })
    });
    tensors.collect()
}

/// The items of a dictionary or an ordered dictionary.
fn dictionary(graph: &Graph, value: Value) -> Option<Vec<(Value, Value)>> {
    match graph.node(value)? {
        Node::Dict(items) => Some(items.clone()),
        Node::Call {
            function,
            arguments,
            items,
        } => {
            if graph.global(*function)? != ("collections", "OrderedDict") {
                return None;
            }
            // Python 2 passes the items as a list of pairs.
            let pairs = graph.tuple(*arguments)?.first();
            let pairs = pairs.and_then(|pairs| graph.list(*pairs)).unwrap_or(&[]);
            let pair = |pair: &Value| {
                let pair = graph.list(*pair).or_else(|| graph.tuple(*pair))?;
                Some((*pair.first()?, *pair.get(1)?))
            };
            let pairs = pairs.iter().filter_map(pair);
            Some(pairs.chain(items.iter().copied()).collect())
        }
        _ => None,
    }
}

/// Returns true if a function is one of torch's functions that rebuild pickled tensors.
fn is_rebuild_function(module: &str, name: &str) -> bool {
    matches!(module, "torch._utils" | "torch._tensor") && name.starts_with("_rebuild")
}

/// The tensor that a function would return.
fn tensor<'a>(
    graph: &'a Graph,
    module: &str,
    name: &str,
    arguments: &'a [Value],
    wrappers: usize,
) -> Result<TensorRecord<'a>, String> {
    let unsupported = || format!("found a tensor of {module}.{name}, expected a dense tensor");
    let inner = match (name, arguments) {
        ("_rebuild_tensor", [storage, offset, shape, strides])
        | ("_rebuild_tensor_v2", [storage, offset, shape, strides, ..]) => {
            reject_lazy(graph, arguments.get(6))?;
            return dense(graph, *storage, None, [*offset, *shape, *strides]);
        }
        ("_rebuild_tensor_v3", [storage, offset, shape, strides, _, _, dtype, ..]) => {
            reject_lazy(graph, arguments.get(7))?;
            let dtype = dtype_of(graph, *dtype)?;
            return dense(graph, *storage, Some(dtype), [*offset, *shape, *strides]);
        }
        (
            "_rebuild_parameter"
            | "_rebuild_parameter_with_state"
            | "_rebuild_device_tensor_from_cpu_tensor",
            [data, ..],
        ) => graph.call(*data),
        ("_rebuild_from_type" | "_rebuild_from_type_v2", [function, _, arguments, ..]) => {
            let function = graph.global(*function);
            function
                .zip(graph.tuple(*arguments))
                .map(|((module, name), arguments)| (module, name, arguments))
        }
        _ => None,
    };
    let (module, name, arguments) = inner.ok_or_else(unsupported)?;
    if wrappers == 0 || !is_rebuild_function(module, name) {
        return Err(unsupported());
    }
    tensor(graph, module, name, arguments, wrappers - 1)
}

/// Rejects a tensor whose values are stored negated or conjugated.
fn reject_lazy(graph: &Graph, metadata: Option<&Value>) -> Result<(), String> {
    let Some(Node::Dict(items)) = metadata.and_then(|metadata| graph.node(*metadata)) else {
        return Ok(());
    };
    let lazy = |(key, value): &(Value, Value)| {
        matches!(graph.text(*key), Some("neg" | "conj")) && *value == Value::Bool(true)
    };
    if items.iter().any(lazy) {
        return Err("found negated or conjugated values, expected plain ones".to_owned());
    }
    Ok(())
}

fn dense(
    graph: &Graph,
    storage: Value,
    dtype: Option<Dtype>,
    [offset, shape, strides]: [Value; 3],
) -> Result<TensorRecord<'_>, String> {
    let storage = match graph.node(storage) {
        Some(Node::Persistent(id)) => storage_id(graph, *id),
        _ => None,
    };
    let storage = storage.ok_or("found no storage of a known type")?;
    let dtype = match (dtype, storage.content) {
        (Some(dtype), _) | (None, Content::Values(dtype)) => dtype,
        (None, Content::Bytes) => return Err("found a storage without a number type".to_owned()),
    };
    let (shape, strides) = (sizes(graph, shape)?, sizes(graph, strides)?);
    let Value::Int(offset) = offset else {
        return Err("found no storage offset".to_owned());
    };
    let layout = layout(&storage, dtype, offset, &shape, &strides)?;
    Ok(TensorRecord {
        storage,
        dtype,
        layout,
    })
}

/// Checks that a tensor lies within its storage.
fn layout(
    storage: &StorageId,
    dtype: Dtype,
    offset: i64,
    shape: &[u64],
    strides: &[u64],
) -> Result<Layout, String> {
    if shape.len() != strides.len() || shape.len() > MAX_RANK {
        let (found, expected) = (strides.len(), shape.len());
        return Err(format!(
            "found {found} strides, expected {expected}, at most {MAX_RANK}"
        ));
    }
    // Computed from bytes, because the length of an untyped storage is in bytes.
    let stored = storage.length.saturating_mul(storage.value_size()) / dtype.size;
    let count = shape
        .iter()
        .try_fold(1_u64, |count, size| count.checked_mul(*size));
    let repeated = stored.saturating_add(MAX_REPEATED);
    let Some(count) = count.filter(|count| *count <= repeated) else {
        return Err(format!(
            "found shape {shape:?} in a storage of {stored} values"
        ));
    };
    let offset = u64::try_from(offset).ok();
    let range = offset.zip(span(count, shape, strides));
    let is_stored =
        |(offset, span): &(u64, u64)| offset.checked_add(*span).is_some_and(|end| end <= stored);
    let Some((offset, span)) = range.filter(is_stored) else {
        return Err(format!(
            "found shape {shape:?} with strides {strides:?}, which ends beyond its storage of {stored} values"
        ));
    };
    let narrow = |value: &u64| usize::try_from(*value).map_err(|error| error.to_string());
    let narrow_all = |values: &[u64]| values.iter().map(narrow).collect::<Result<_, _>>();
    let strides = match count == 0 || is_row_major(shape, strides) {
        true => None,
        false => Some(Strides {
            steps: narrow_all(strides)?,
            span: narrow(&span)?,
        }),
    };
    let offset = storage.first * storage.value_size() + offset * dtype.size;
    Ok(Layout {
        shape: narrow_all(shape)?,
        offset,
        strides,
    })
}

/// The number of stored values from a tensor's first to its last.
fn span(count: u64, shape: &[u64], strides: &[u64]) -> Option<u64> {
    if count == 0 {
        return Some(0);
    }
    let mut dimensions = shape.iter().zip(strides);
    dimensions.try_fold(1_u64, |span, (size, stride)| {
        span.checked_add((size - 1).checked_mul(*stride)?)
    })
}

fn is_row_major(shape: &[u64], strides: &[u64]) -> bool {
    let mut expected = 1;
    let mut dimensions = shape.iter().zip(strides).rev();
    dimensions.all(|(size, stride)| {
        let fits = *size == 1 || *stride == expected;
        expected *= size;
        fits
    })
}

/// Reads a tuple of sizes, or a `torch.Size` of one.
fn sizes(graph: &Graph, value: Value) -> Result<Vec<u64>, String> {
    let value = match graph.call(value) {
        Some(("torch", "Size", [sizes])) => *sizes,
        _ => value,
    };
    let size = |value: &Value| match value {
        Value::Int(size) => u64::try_from(*size).ok(),
        _ => None,
    };
    let sizes = graph
        .tuple(value)
        .and_then(|sizes| sizes.iter().map(size).collect());
    sizes.ok_or_else(|| "found no sizes or strides".to_owned())
}

/// Reads `("storage", type, key, location, length[, view])`.
pub(crate) fn storage_id(graph: &Graph, id: Value) -> Option<StorageId<'_>> {
    let fields = graph.tuple(id)?;
    let [kind, class, key, _location, Value::Int(length), view @ ..] = fields else {
        return None;
    };
    if graph.text(*kind)? != "storage" {
        return None;
    }
    let mut storage = StorageId {
        key: graph.text(*key)?,
        content: content_of(graph, *class)?,
        length: u64::try_from(*length).ok()?,
        first: 0,
    };
    if let Some(view) = view.first().and_then(|view| graph.tuple(*view)) {
        let [_key, Value::Int(first), Value::Int(length)] = view else {
            return None;
        };
        storage.first = u64::try_from(*first).ok()?;
        storage.length = u64::try_from(*length).ok()?;
    }
    storage.bytes()?;
    Some(storage)
}

/// The element type of a storage class.
fn content_of(graph: &Graph, class: Value) -> Option<Content> {
    let (module, class) = graph.global(class)?;
    let known = matches!(module, "torch" | "torch.cuda" | "torch.storage");
    if known && class == "UntypedStorage" {
        return Some(Content::Bytes);
    }
    let mut dtypes = DTYPES
        .iter()
        .filter(|(_, storage, _, _)| !storage.is_empty());
    let found = dtypes.find(|(_, storage, _, _)| known && *storage == class)?;
    Some(Content::Values(Dtype {
        name: found.2,
        size: found.3,
    }))
}

fn dtype_of(graph: &Graph, dtype: Value) -> Result<Dtype, String> {
    let (module, name) = graph.global(dtype).unwrap_or_default();
    let found = DTYPES.iter().find(|(dtype, ..)| *dtype == name);
    match found.filter(|_| module == "torch") {
        Some((_, _, name, size)) => Ok(Dtype { name, size: *size }),
        None => Err(format!("found type {module}.{name}, expected a float type")),
    }
}
