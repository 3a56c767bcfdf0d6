//! Attributes: the typed values inside a message.

/// Says that the value is itself attributes.
const NESTED: u16 = 0x8000;
/// What remains of a type without its flags.
const KIND: u16 = 0x3fff;

/// Attributes under construction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Attributes(Vec<u8>);

impl Attributes {
    /// None yet.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// As they go over the wire.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Adds a value as it is.
    pub(crate) fn raw(mut self, kind: u16, value: &[u8]) -> Self {
        let length = u16::try_from(value.len() + 4).expect("no attribute of ours has 64 KiB");
        self.0.extend_from_slice(&length.to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    /// Adds a text, with its NUL.
    pub(crate) fn text(self, kind: u16, value: &str) -> Self {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.raw(kind, &bytes)
    }

    /// Adds a number in the machine's order, as links and routes want it.
    pub(crate) fn u32(self, kind: u16, value: u32) -> Self {
        self.raw(kind, &value.to_ne_bytes())
    }

    /// Adds a number in the network's order, as `nf_tables` wants it.
    pub(crate) fn be32(self, kind: u16, value: u32) -> Self {
        self.raw(kind, &value.to_be_bytes())
    }

    /// Adds a long number in the network's order.
    pub(crate) fn be64(self, kind: u16, value: u64) -> Self {
        self.raw(kind, &value.to_be_bytes())
    }

    /// Adds attributes within an attribute.
    pub(crate) fn nest(self, kind: u16, inner: &Self) -> Self {
        self.raw(kind | NESTED, inner.bytes())
    }
}

/// Attributes received: walks them, and stops quietly where they are cut off.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found<'a>(pub(crate) &'a [u8]);

impl<'a> Found<'a> {
    /// The value of the first attribute of that type.
    pub(crate) fn get(self, kind: u16) -> Option<&'a [u8]> {
        self.into_iter().find(|(found, _)| *found == kind).map(|(_, value)| value)
    }

    /// The attributes within the first attribute of that type.
    pub(crate) fn nested(self, kind: u16) -> Option<Self> {
        self.get(kind).map(Found)
    }

    /// The first attribute of that type as a text.
    pub(crate) fn text(self, kind: u16) -> Option<String> {
        self.get(kind).map(text_of)
    }

    /// The first attribute of that type as a number in the machine's order.
    pub(crate) fn u32(self, kind: u16) -> Option<u32> {
        Some(u32::from_ne_bytes(self.get(kind)?.try_into().ok()?))
    }

    /// The first attribute of that type as a number in the network's order.
    pub(crate) fn be32(self, kind: u16) -> Option<u32> {
        Some(u32::from_be_bytes(self.get(kind)?.try_into().ok()?))
    }

    /// The first attribute of that type as a long number in the network's order.
    pub(crate) fn be64(self, kind: u16) -> Option<u64> {
        Some(u64::from_be_bytes(self.get(kind)?.try_into().ok()?))
    }
}

impl<'a> Iterator for Found<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (head, _) = self.0.split_at_checked(4)?;
        let length = usize::from(u16::from_ne_bytes([head[0], head[1]]));
        let kind = u16::from_ne_bytes([head[2], head[3]]) & KIND;
        let value = self.0.get(4..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        Some((kind, value))
    }
}

/// A text that may end in NULs.
pub(crate) fn text_of(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let inner = Attributes::new().be32(7, 9).text(8, "abc");
        let all = Attributes::new().u32(1, 5).nest(2, &inner).raw(3, &[1, 2, 3]).be64(4, 1 << 40);
        let found = Found(all.bytes());
        assert_eq!(found.u32(1), Some(5));
        assert_eq!(found.nested(2).unwrap().be32(7), Some(9));
        assert_eq!(found.nested(2).unwrap().text(8), Some("abc".to_owned()));
        assert_eq!(found.get(3), Some(&[1u8, 2, 3][..]));
        assert_eq!(found.be64(4), Some(1 << 40));
        assert_eq!(found.into_iter().count(), 4);
    }

    #[test]
    fn a_cut_message_ends_the_walk() {
        let all = Attributes::new().u32(1, 5).u32(2, 6);
        for end in 0..all.bytes().len() {
            assert!(Found(&all.bytes()[..end]).into_iter().count() <= 1, "{end}");
        }
        assert_eq!(Found(&[0, 0, 1, 0]).into_iter().count(), 0, "a length of zero never loops");
        assert_eq!(Found(&[255, 255, 1, 0, 1]).into_iter().count(), 0);
    }
}
