//! Which Go builds: part of a build's key, so it is settled before there is one.

use shipway_api_types::ProblemCode;
use shipway_gobuild::GoVersion;
use shipway_gobuild::spec::go_of_label;
use shipway_model::{Micros, task::BUILDS};

use crate::app::App;
use crate::config::BuildParts;
use crate::reply::Reject;

/// The newest Go that somebody can build with now, or will when workers come back; at least
/// `needed`, unless that is empty.
pub(super) async fn choose(app: &App, parts: &BuildParts, needed: &str) -> Result<String, Reject> {
    let offered = offered(app).await?.or_else(|| parts.go.clone());
    let Some(go) = offered else {
        let detail = "no worker that makes builds is there, and this server has no Go of its own";
        return Err(Reject::new(ProblemCode::NoBuilder, detail)
            .hint(
                "`shipway workers` lists those that are; one that builds has the label `builds` and one as `go=1.26.8`",
            )
            .header(http::header::RETRY_AFTER, "10"));
    };
    match (GoVersion::parse(&go), GoVersion::parse(needed)) {
        (Some(has), Some(needs)) if has < needs => {
            let detail = format!("Go {needs} or newer is needed, and the newest that a worker has is {has}");
            Err(Reject::new(ProblemCode::GoTooOld, detail)
                .hint("ask for an older version of what needs it, or give a worker a newer Go"))
        }
        _ => Ok(go),
    }
}

/// The newest Go of those workers that give signs of life; of those that are taken out of the
/// queue only when no other has any.
async fn offered(app: &App) -> Result<Option<String>, Reject> {
    let silent = Micros::try_from(app.config.silent_after.as_micros()).unwrap_or(Micros::MAX);
    let workers = app.parts.store.list_workers().await?;
    let newest = |active_only: bool| {
        workers
            .iter()
            .filter(|worker| worker.silent_for <= silent && worker.facts.labels.contains(BUILDS))
            .filter(|worker| !active_only || worker.state == shipway_store::WorkerState::Active)
            .flat_map(|worker| &worker.facts.labels)
            .filter_map(|label| go_of_label(label))
            .filter_map(|text| Some((GoVersion::parse(text)?, text.to_owned())))
            .max_by(|one, other| one.0.cmp(&other.0))
    };
    Ok(newest(true).or_else(|| newest(false)).map(|(_, text)| text))
}
