//! Archives of chance: whatever is in them, the outcome is a tree or a refusal, and
//! nothing changes outside.

use std::os::unix::fs::MetadataExt;

use proptest::prelude::*;
use shipway_oci::{UnpackError, UnpackLimits};

use crate::craft::*;

/// Few names, so that they meet.
fn name() -> impl Strategy<Value = String> {
    let part = prop_oneof![3 => Just("a"), 3 => Just("b"), 1 => Just(".."), 1 => Just("."), 1 => Just("dev")];
    (proptest::bool::weighted(0.05), proptest::collection::vec(part, 1..4))
        .prop_map(|(absolute, parts)| format!("{}{}", if absolute { "/" } else { "" }, parts.join("/")))
}

fn entry(outside: String) -> impl Strategy<Value = Entry> {
    let target = prop_oneof![name(), Just(outside.clone()), Just(format!("{outside}/loot")), Just("..".to_owned())];
    let flag = proptest::sample::select(b"00055122234671xLKg7S".to_vec());
    (flag, name(), target, 0_u32..0o10000, "[a-z =0-9\n]{0,20}").prop_map(|(flag, name, target, mode, text)| {
        let entry = Entry::new(flag, name).to(target).mode(mode);
        if b"0xLKg7".contains(&flag) { entry.body(text) } else { entry }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn nothing_gets_out(
        seeds in proptest::collection::vec(entry("@OUT@".to_owned()), 1..12),
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
    ) {
        let outside = tempfile::tempdir().unwrap();
        std::fs::create_dir(outside.path().join("loot")).unwrap();
        let before = (tell(outside.path()), outside.path().metadata().unwrap().ctime_nsec());
        let here = outside.path().to_str().unwrap();
        let entries: Vec<_> = seeds.into_iter().map(|entry| entry.aim(here)).collect();
        let mut bytes = archive(&entries);
        for (at, with) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= with;
        }
        // `unpack` of the tests looks beside the tree.
        let limits = UnpackLimits { bytes_max: 1 << 20, ..UnpackLimits::default() };
        let (result, lines) = unpack(&bytes, &limits);
        match result {
            Ok(_) => prop_assert!(!lines.iter().any(|line| line.contains(" special ")), "{:?}", lines),
            Err(UnpackError::Refused { .. }) => {}
            Err(other) => prop_assert!(false, "{other:?}"),
        }
        prop_assert_eq!((tell(outside.path()), outside.path().metadata().unwrap().ctime_nsec()), before);
    }
}
