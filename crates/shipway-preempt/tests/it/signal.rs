//! The signal.

use std::process::Command;
use std::time::Duration;

use shipway_preempt::{Provider, watch};

use crate::stand_in::foreseen;

#[tokio::test]
async fn a_signal_is_a_notice_each_time() {
    let mut watch = watch(Provider::Signal, Duration::from_secs(5), None).unwrap();
    for _ in 0..2 {
        let kill = Command::new("kill").args(["-USR1", &std::process::id().to_string()]).status().unwrap();
        assert!(kill.success());
        assert_eq!(foreseen(watch.as_mut()).await.what, "SIGUSR1");
    }
}
