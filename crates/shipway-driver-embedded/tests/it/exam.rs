//! The exam that every driver takes.

use shipway_driver::conformance::{self, Candidate};

use crate::world::World;

#[tokio::test]
async fn the_embedded_driver_passes_the_exam() {
    let world = World::new();
    let driver = world.open().await;
    let candidate = Candidate::new(driver.clone());
    conformance::run_all(&candidate).await;
    drop(candidate);
    world.finish(driver).await;
}
