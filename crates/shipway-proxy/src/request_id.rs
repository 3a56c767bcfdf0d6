//! A name for each request, so that an error page and a log line can meet.

use std::cell::Cell;

use http::HeaderValue;

/// Longest id taken over from a visitor, in bytes.
const LENGTH_MAX: usize = 128;

/// Takes over an id that is sane: letters, digits and `-_.`, not too long.
pub(crate) fn take_over(value: &HeaderValue) -> Option<HeaderValue> {
    is_sane(value.as_bytes()).then(|| value.clone())
}

/// Whether an id may be taken over.
pub(crate) fn is_sane(id: &[u8]) -> bool {
    let plain = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    !id.is_empty() && id.len() <= LENGTH_MAX && id.iter().all(plain)
}

/// [`mint_text`] as a header has it.
pub(crate) fn mint() -> HeaderValue {
    HeaderValue::from_bytes(&mint_text()).unwrap_or_else(|_| HeaderValue::from_static("0"))
}

/// Mints a new id: 32 hexadecimal digits, not to be guessed from others only as
/// far as nothing depends on it. It names, it does not protect.
pub(crate) fn mint_text() -> [u8; 32] {
    thread_local! {
        static STATE: Cell<u128> = Cell::new(seed());
    }
    let number = STATE.with(|state| {
        // A Weyl sequence through a mixer: never repeats, cheap.
        let next = state.get().wrapping_add(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
        state.set(next);
        let mixed = (next ^ (next >> 61)).wrapping_mul(0xbf58_476d_1ce4_e5b9_94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 59)
    });
    let mut text = [0_u8; 32];
    for (pair, byte) in text.chunks_exact_mut(2).zip(number.to_be_bytes()) {
        pair[0] = b"0123456789abcdef"[usize::from(byte >> 4)];
        pair[1] = b"0123456789abcdef"[usize::from(byte & 0xf)];
    }
    text
}

fn seed() -> u128 {
    let mut bytes = [0_u8; 16];
    // Without randomness ids could only meet those of another thread.
    rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty()).ok();
    u128::from_ne_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minted_ids_differ_and_are_sane() {
        let ids: std::collections::HashSet<_> = (0..10_000).map(|_| mint().to_str().unwrap().to_owned()).collect();
        assert_eq!(ids.len(), 10_000);
        assert!(ids.iter().all(|id| id.len() == 32));
        assert!(take_over(&mint()).is_some());
    }

    #[test]
    fn only_sane_ids_are_taken_over() {
        for (id, sane) in [("abc-1_2.3", true), ("", false), ("a b", false), ("a\"b", false)] {
            assert_eq!(take_over(&HeaderValue::from_static(id)).is_some(), sane, "{id}");
        }
        let long = "a".repeat(129);
        assert!(take_over(&HeaderValue::from_str(&long).unwrap()).is_none());
    }
}
