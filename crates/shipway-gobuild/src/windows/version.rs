//! The version resource: `VS_VERSIONINFO`, a tree of blocks, each padded to four bytes.

use crate::module::Version;
use crate::recipe::Windows;

const SIGNATURE: u32 = 0xFEEF_04BD;
const STRUCTURE_1_0: u32 = 0x0001_0000;
const FLAGS_MASK: u32 = 0x3F;
const FLAG_PRERELEASE: u32 = 0x02;
/// `VOS_NT_WINDOWS32`.
const OS_WINDOWS: u32 = 0x0004_0004;
/// `VFT_APP`.
const TYPE_PROGRAM: u32 = 1;
/// American English, and UTF-16.
const LANGUAGE: u16 = 0x0409;
const CODE_PAGE: u16 = 0x04B0;

/// Whether a block's value is text, whose length is counted in characters.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Binary,
    Text,
}

/// Makes the resource's content.
pub(super) fn information(program: &str, texts: &Windows, version: &Version) -> Vec<u8> {
    let shown = version.as_str().trim_start_matches('v');
    let strings = [
        ("CompanyName", texts.company.as_str()),
        ("FileDescription", &texts.description),
        ("FileVersion", shown),
        ("InternalName", program),
        ("LegalCopyright", &texts.copyright),
        ("OriginalFilename", &format!("{program}.exe")),
        ("ProductName", &texts.product),
        ("ProductVersion", shown),
    ];
    let strings: Vec<Vec<u8>> = strings.map(|(key, value)| block(key, Kind::Text, &utf16(value), &[])).into();
    let table = block(&format!("{LANGUAGE:04X}{CODE_PAGE:04X}"), Kind::Text, &[], &strings);
    let translation = [LANGUAGE.to_le_bytes(), CODE_PAGE.to_le_bytes()].concat();
    let variable = block("Translation", Kind::Binary, &translation, &[]);
    let children =
        [block("StringFileInfo", Kind::Text, &[], &[table]), block("VarFileInfo", Kind::Text, &[], &[variable])];
    block("VS_VERSION_INFO", Kind::Binary, &fixed(version), &children)
}

/// `VS_FIXEDFILEINFO`.
fn fixed(version: &Version) -> Vec<u8> {
    let [major, minor, patch] = numbers(version);
    let (high, low) = (u32::from(major) << 16 | u32::from(minor), u32::from(patch) << 16);
    let flags = if version.is_prerelease() { FLAG_PRERELEASE } else { 0 };
    let words = [SIGNATURE, STRUCTURE_1_0, high, low, high, low, FLAGS_MASK, flags, OS_WINDOWS, TYPE_PROGRAM, 0, 0, 0];
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// The version's numbers, as far as 16 bits hold them.
fn numbers(version: &Version) -> [u16; 3] {
    let core = version.as_str().trim_start_matches('v').split(['-', '+']).next().unwrap_or_default();
    let mut numbers = core.split('.').map(|number| number.parse().unwrap_or(u16::MAX));
    std::array::from_fn(|_| numbers.next().unwrap_or_default())
}

/// A block: lengths, key, value, children.
fn block(key: &str, kind: Kind, value: &[u8], children: &[Vec<u8>]) -> Vec<u8> {
    let value_length = if kind == Kind::Text { value.len() / 2 } else { value.len() };
    let mut bytes = vec![0; 2];
    bytes.extend(length(value_length));
    bytes.extend(u16::from(kind == Kind::Text).to_le_bytes());
    bytes.extend(utf16(key));
    pad(&mut bytes);
    bytes.extend(value);
    for child in children {
        pad(&mut bytes);
        bytes.extend(child);
    }
    let whole = length(bytes.len());
    bytes[..2].copy_from_slice(&whole);
    bytes
}

fn length(bytes: usize) -> [u8; 2] {
    u16::try_from(bytes).expect("texts of a recipe are short").to_le_bytes()
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

/// Text with the zero that ends it.
fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect()
}
