//! The background of a GIF's screen around its first frame, as Pillow paints it.

use std::ops::Range;

/// The extent of a GIF's first frame and the colour of the screen around it.
pub(crate) struct FirstFrame {
    columns: Range<usize>,
    rows: Range<usize>,
    background: [u8; 3],
}

/// Reads the blocks up to the first frame. `None` if the bytes are not a GIF or are truncated.
pub(crate) fn first_frame(bytes: &[u8]) -> Option<FirstFrame> {
    const IMAGE: u8 = b',';
    const EXTENSION: u8 = b'!';
    const GRAPHIC_CONTROL: u8 = 0xF9;
    if !bytes.starts_with(b"GIF") {
        return None;
    }
    let (header, mut rest) = bytes.split_first_chunk::<13>()?;
    let mut palette = take_palette(header[10], &mut rest)?;
    let mut transparent = 0;
    loop {
        let (kind, after) = rest.split_first()?;
        rest = after;
        match *kind {
            IMAGE => break,
            EXTENSION => {
                let (label, after) = rest.split_first()?;
                // Block size 4, flags, two bytes of delay, index.
                if let (GRAPHIC_CONTROL, [4, flags, _, _, index, ..]) = (*label, after)
                    && flags & 1 == 1
                {
                    transparent = usize::from(*index);
                }
                rest = after_blocks(after)?;
            }
            _ => {}
        }
    }
    let (descriptor, mut rest) = rest.split_first_chunk::<9>()?;
    let [left, top, width, height] = [0, 2, 4, 6]
        .map(|at| usize::from(u16::from_le_bytes([descriptor[at], descriptor[at + 1]])));
    let local = take_palette(descriptor[8], &mut rest)?;
    if !local.is_empty() {
        palette = local;
    }
    let gray = [transparent as u8; 3];
    let color = palette.get(3 * transparent..).and_then(<[u8]>::first_chunk);
    Some(FirstFrame {
        columns: left..left + width,
        rows: top..top + height,
        background: match palette.is_empty() {
            true => gray,
            false => color.copied().unwrap_or_default(),
        },
    })
}

impl FirstFrame {
    /// Fills the screen around the frame with the background colour.
    pub(crate) fn paint_background(&self, rgb: &mut [u8], width: usize) {
        for (y, row) in rgb.chunks_exact_mut(3 * width).enumerate() {
            let (pixels, _) = row.as_chunks_mut::<3>();
            for (x, pixel) in pixels.iter_mut().enumerate() {
                if !self.rows.contains(&y) || !self.columns.contains(&x) {
                    *pixel = self.background;
                }
            }
        }
    }
}

/// Reads the palette that `flags` declares; empty if there is none. `None` if it is truncated.
fn take_palette<'a>(flags: u8, rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    if flags & 0x80 == 0 {
        return Some(&[]);
    }
    let (palette, after) = rest.split_at_checked(6 << (flags & 7))?;
    *rest = after;
    Some(palette)
}

/// Skips a sequence of blocks, terminated by an empty one, and returns the remaining bytes. `None`
/// if the blocks are truncated.
fn after_blocks(mut rest: &[u8]) -> Option<&[u8]> {
    loop {
        let (length, after) = rest.split_first()?;
        rest = after.get(usize::from(*length)..)?;
        if *length == 0 {
            return Some(rest);
        }
    }
}
