//! The object file: a tree of resources in one section, with a relocation for each.
//!
//! ```text
//! root ── type ── name 1 ── language ── place and size ──► content
//! ```
//!
//! Places are relative to the image, which only the linker knows: each is relocated.

/// Machines, with the relocation that makes an address relative to the image.
pub(super) struct Machine {
    number: u16,
    relative: u16,
}

impl Machine {
    /// The machine of a `GOARCH`.
    pub(super) fn of(arch: &str) -> Option<Self> {
        match arch {
            "amd64" => Some(Self { number: 0x8664, relative: 3 }),
            "arm64" => Some(Self { number: 0xAA64, relative: 2 }),
            "arm" => Some(Self { number: 0x01C4, relative: 2 }),
            _ => None,
        }
    }
}

const FILE_BYTES: u32 = 20;
const SECTION_BYTES: u32 = 40;
const RELOCATION_BYTES: u32 = 10;
/// Initialised data, readable, aligned to four bytes.
const SECTION_FLAGS: u32 = 0x4030_0040;
const SYMBOL_STATIC: u8 = 3;
const SUBDIRECTORY: u32 = 0x8000_0000;
const NAME: u32 = 1;
const LANGUAGE: u32 = 0x0409;
/// A table and each of its entries; the record of a content's place.
const TABLE_BYTES: u32 = 16;
const ENTRY_BYTES: u32 = 8;
const PLACE_BYTES: u32 = 16;

/// Writes the object of these resources: `(type, content)`, in the order of their types.
pub(super) fn write(machine: &Machine, resources: &[(u32, Vec<u8>)]) -> Vec<u8> {
    let (section, relocations) = section(resources);
    let relocated_at = FILE_BYTES + SECTION_BYTES + size(&section);
    let symbols_at = relocated_at + RELOCATION_BYTES * size(&relocations);
    let mut out = Vec::new();
    words(&mut out, &[machine.number, 1]);
    longs(&mut out, &[0, symbols_at, 1]);
    words(&mut out, &[0, 0]);
    out.extend(b".rsrc\0\0\0");
    longs(&mut out, &[0, 0, size(&section), FILE_BYTES + SECTION_BYTES, relocated_at, 0]);
    words(&mut out, &[u16::try_from(relocations.len()).expect("a few resources"), 0]);
    longs(&mut out, &[SECTION_FLAGS]);
    out.extend(section);
    for at in relocations {
        longs(&mut out, &[at, 0]);
        words(&mut out, &[machine.relative]);
    }
    out.extend(b".rsrc\0\0\0");
    longs(&mut out, &[0]);
    words(&mut out, &[1, 0]);
    out.extend([SYMBOL_STATIC, 0]);
    // An empty table of long names: its own length.
    longs(&mut out, &[4]);
    out
}

/// The section's bytes, and where in it the linker has to add the image's base.
fn section(resources: &[(u32, Vec<u8>)]) -> (Vec<u8>, Vec<u32>) {
    let count = size(resources);
    let one = TABLE_BYTES + ENTRY_BYTES;
    let types_at = TABLE_BYTES + ENTRY_BYTES * count;
    let names_at = types_at + one * count;
    let places_at = names_at + one * count;
    let mut out = Vec::new();
    table(&mut out, count);
    for (at, (kind, _)) in (0..).zip(resources) {
        longs(&mut out, &[*kind, SUBDIRECTORY | (types_at + one * at)]);
    }
    for at in 0..count {
        table(&mut out, 1);
        longs(&mut out, &[NAME, SUBDIRECTORY | (names_at + one * at)]);
    }
    for at in 0..count {
        table(&mut out, 1);
        longs(&mut out, &[LANGUAGE, places_at + PLACE_BYTES * at]);
    }
    let mut content_at = (places_at + PLACE_BYTES * count).next_multiple_of(8);
    let mut relocations = Vec::new();
    for (_, content) in resources {
        relocations.push(size(&out));
        longs(&mut out, &[content_at, size(content), 0, 0]);
        content_at = (content_at + size(content)).next_multiple_of(8);
    }
    for (_, content) in resources {
        out.resize(out.len().next_multiple_of(8), 0);
        out.extend(content);
    }
    out.resize(out.len().next_multiple_of(8), 0);
    (out, relocations)
}

/// A table with so many numbered entries.
fn table(out: &mut Vec<u8>, entries: u32) {
    longs(out, &[0, 0, 0]);
    words(out, &[0, u16::try_from(entries).expect("a few resources")]);
}

fn size<T>(of: &[T]) -> u32 {
    u32::try_from(of.len()).expect("resources are small")
}

fn words(out: &mut Vec<u8>, values: &[u16]) {
    out.extend(values.iter().flat_map(|value| value.to_le_bytes()));
}

fn longs(out: &mut Vec<u8>, values: &[u32]) {
    out.extend(values.iter().flat_map(|value| value.to_le_bytes()));
}
