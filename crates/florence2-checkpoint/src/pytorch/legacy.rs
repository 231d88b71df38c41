//! The file format of torch before 1.6, which `torch.save(..,
//! _use_new_zipfile_serialization=False)` still writes: five pickles, then the bytes of the
//! storages in the order of the last pickle.

use std::collections::BTreeMap;
use std::io::BufReader;
use std::sync::Arc;

use super::graph::{Graph, Node, Value};
use super::pickle;
use super::state_dict::storage_id;
use crate::error::Result;
use crate::source::{Source, SourceReader};
use crate::tensor::Storage;

/// The value of the first pickle, 0x1950a86a20f9469cfc6c, little-endian.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];

/// The value of the second pickle.
const PROTOCOL: i64 = 1001;

/// Returns true if a file starts with a pickle of the magic number, in any protocol.
pub(crate) fn is_legacy(start: &[u8]) -> bool {
    let protocol_1 = b"L119547037146038801333356L\n";
    let header = &start[..start.len().min(24)];
    let has_magic = header.windows(MAGIC.len()).any(|bytes| bytes == MAGIC);
    start.starts_with(protocol_1) || start.starts_with(b"\x80") && has_magic
}

/// The pickled object, and the storages that it refers to.
pub(crate) struct LegacyFile {
    pub(crate) graph: Graph,
    storages: BTreeMap<String, Arc<Storage>>,
    /// Storages whose bytes are missing in the file.
    truncated: Vec<String>,
}

impl LegacyFile {
    pub(crate) fn open(source: &Arc<Source>) -> Result<Self> {
        let mut pickles = Pickles::new(source);
        let magic = pickles.read()?;
        if !matches!(magic.node(magic.top), Some(Node::LongInt(bytes)) if *bytes == MAGIC) {
            return Err(source.malformed("found another magic number than torch's"));
        }
        let protocol = pickles.read()?.top;
        if protocol != Value::Int(PROTOCOL) {
            let reason = format!("found {protocol:?}, expected protocol {PROTOCOL}");
            return Err(source.malformed(reason));
        }
        check_byte_order(source, &pickles.read()?)?;
        let graph = pickles.read()?;
        let keys = pickles.read()?;
        let mut file = Self {
            graph,
            storages: BTreeMap::new(),
            truncated: Vec::new(),
        };
        let Some(keys) = storage_keys(&keys) else {
            return Err(source.malformed("found no list of storages after the state dict"));
        };
        file.find_storages(source, pickles.position, keys)?;
        Ok(file)
    }

    /// Returns the bytes of a storage. The error is a reason without the file's name.
    pub(crate) fn find(&self, key: &str) -> Result<Arc<Storage>, String> {
        match self.storages.get(key) {
            Some(storage) => Ok(Arc::clone(storage)),
            None if self.truncated.iter().any(|truncated| truncated == key) => {
                Err("the file ends before its values: truncated".to_owned())
            }
            None => Err(format!("the file lacks the storage `{key}`")),
        }
    }

    /// Finds the storages. Each is stored as its number of values, in 8 bytes, and the values.
    fn find_storages(
        &mut self,
        source: &Arc<Source>,
        mut position: u64,
        keys: Vec<String>,
    ) -> Result<()> {
        let sizes = value_sizes(&self.graph);
        let mut keys = keys.into_iter();
        for key in keys.by_ref() {
            let Some(size) = sizes.get(&key) else {
                return Err(
                    source.malformed(format!("storage `{key}`: its number type is unknown"))
                );
            };
            let start = position + 8;
            if start > source.length() {
                self.truncated.push(key);
                break;
            }
            let count = source.read_to_vec(position, 8)?;
            let count = u64::from_le_bytes(count.try_into().expect("8 bytes were read"));
            let length = count.checked_mul(*size);
            let end = length.and_then(|length| start.checked_add(length));
            let (Some(length), Some(end)) = (length, end.filter(|end| *end <= source.length()))
            else {
                self.truncated.push(key);
                break;
            };
            let storage = Storage::new(Arc::clone(source), start, length, None);
            self.storages.insert(key, Arc::new(storage));
            position = end;
        }
        self.truncated.extend(keys);
        Ok(())
    }
}

/// Reads the pickles of a file one after the other.
struct Pickles<'a> {
    source: &'a Source,
    position: u64,
}

impl<'a> Pickles<'a> {
    fn new(source: &'a Source) -> Self {
        Self {
            source,
            position: 0,
        }
    }

    fn read(&mut self) -> Result<Graph> {
        let reader = SourceReader::new(self.source, self.position);
        let read = pickle::read_graph(BufReader::with_capacity(1 << 14, reader));
        let (graph, length) = read.map_err(|error| self.source.malformed(error))?;
        self.position += length;
        Ok(graph)
    }
}

fn check_byte_order(source: &Source, system: &Graph) -> Result<()> {
    let Some(Node::Dict(items)) = system.node(system.top) else {
        return Err(source.malformed("found no description of the system that wrote the file"));
    };
    let big_endian = |(key, value): &(Value, Value)| {
        system.text(*key) == Some("little_endian") && *value == Value::Bool(false)
    };
    if items.iter().any(big_endian) {
        return Err(source.malformed("found big-endian values, expected little-endian ones"));
    }
    Ok(())
}

fn storage_keys(keys: &Graph) -> Option<Vec<String>> {
    let list = keys.list(keys.top)?;
    list.iter()
        .map(|key| keys.text(*key).map(str::to_owned))
        .collect()
}

/// Bytes per value of each storage that the object refers to. The first reference to a storage
/// applies, as in torch.
fn value_sizes(graph: &Graph) -> BTreeMap<String, u64> {
    let mut sizes = BTreeMap::new();
    for node in &graph.nodes {
        if let Node::Persistent(id) = node
            && let Some(storage) = storage_id(graph, *id)
        {
            let key = storage.key.to_owned();
            sizes.entry(key).or_insert(storage.value_size());
        }
    }
    sizes
}
