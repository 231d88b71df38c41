//! The format of zip archives, for files of less than 4 GiB: APPNOTE.TXT of PKWARE, version 6.3.
//! The crate `zip` would change the features of dependencies that the library shares.

use std::io::Write;

use flate2::write::DeflateEncoder;
use flate2::{Compression, Crc};

use super::epoch::date;

/// The version of the format that deflate requires, on Unix, which defines the permissions.
const VERSION_NEEDED: u16 = 20;
const MADE_BY: u16 = (3 << 8) | VERSION_NEEDED;
/// Names are in UTF-8.
const FLAGS: u16 = 1 << 11;
const DEFLATED: u16 = 8;
const STORED: u16 = 0;

/// An archive that is written to memory.
pub(super) struct Archive {
    bytes: Vec<u8>,
    directory: Vec<u8>,
    count: u16,
    time: [u16; 2],
}

impl Archive {
    /// Creates an archive whose entries have the same time, which must not precede 1980.
    pub(super) fn new(epoch: u64) -> Self {
        let [year, month, day, hour, minute, second] = date(epoch);
        Self {
            bytes: Vec::new(),
            directory: Vec::new(),
            count: 0,
            time: [
                (hour << 11) | (minute << 5) | (second / 2),
                (year.saturating_sub(1980) << 9) | (month << 5) | day,
            ],
        }
    }

    /// Adds a folder, whose name ends with `/`.
    pub(super) fn folder(&mut self, name: &str) {
        self.entry(name, STORED, &[], &[], 0o040_755);
    }

    /// Adds a file with these permissions.
    pub(super) fn file(&mut self, name: &str, contents: &[u8], mode: u32) -> std::io::Result<()> {
        let mut deflate = DeflateEncoder::new(Vec::new(), Compression::best());
        deflate.write_all(contents)?;
        self.entry(
            name,
            DEFLATED,
            contents,
            &deflate.finish()?,
            0o100_000 | mode,
        );
        Ok(())
    }

    fn entry(&mut self, name: &str, method: u16, contents: &[u8], packed: &[u8], mode: u32) {
        let offset = self.bytes.len() as u32;
        let mut crc = Crc::new();
        crc.update(contents);
        // The part that the entry's header shares with the directory.
        let mut common = Vec::new();
        put16(
            &mut common,
            &[VERSION_NEEDED, FLAGS, method, self.time[0], self.time[1]],
        );
        put32(
            &mut common,
            &[crc.sum(), packed.len() as u32, contents.len() as u32],
        );
        put16(&mut common, &[name.len() as u16, 0]);

        self.bytes.extend(b"PK\x03\x04");
        self.bytes.extend(&common);
        self.bytes.extend(name.as_bytes());
        self.bytes.extend(packed);

        self.directory.extend(b"PK\x01\x02");
        put16(&mut self.directory, &[MADE_BY]);
        self.directory.extend(&common);
        // No comment, the first disk, no internal attributes.
        put16(&mut self.directory, &[0, 0, 0]);
        put32(&mut self.directory, &[mode << 16, offset]);
        self.directory.extend(name.as_bytes());
        self.count += 1;
    }

    /// Returns the bytes of the archive.
    pub(super) fn finish(mut self) -> Vec<u8> {
        let start = self.bytes.len() as u32;
        self.bytes.extend(&self.directory);
        self.bytes.extend(b"PK\x05\x06");
        put16(&mut self.bytes, &[0, 0, self.count, self.count]);
        put32(&mut self.bytes, &[self.directory.len() as u32, start]);
        put16(&mut self.bytes, &[0]);
        self.bytes
    }
}

fn put16(bytes: &mut Vec<u8>, numbers: &[u16]) {
    bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
}

fn put32(bytes: &mut Vec<u8>, numbers: &[u32]) {
    bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    #[test]
    fn python_reads_the_archive() {
        let mut archive = super::Archive::new(1_000_000_000);
        archive.folder("a/");
        archive.file("a/b.txt", &[b'x'; 1000], 0o755).unwrap();
        archive.file("a/ü", b"", 0o644).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.zip");
        std::fs::write(&path, archive.finish()).unwrap();
        let script = "import sys, zipfile\n\
            archive = zipfile.ZipFile(sys.argv[1])\n\
            assert archive.testzip() is None\n\
            for entry in archive.infolist():\n    \
                print(entry.filename, entry.date_time, oct(entry.external_attr >> 16), len(archive.read(entry)))";
        let python = Command::new("python3")
            .args(["-c", script])
            .arg(&path)
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&python.stderr), "");
        assert_eq!(
            String::from_utf8_lossy(&python.stdout),
            "a/ (2001, 9, 9, 1, 46, 40) 0o40755 0\n\
             a/b.txt (2001, 9, 9, 1, 46, 40) 0o100755 1000\n\
             a/ü (2001, 9, 9, 1, 46, 40) 0o100644 0\n"
        );
    }
}
