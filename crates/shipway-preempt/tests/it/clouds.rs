//! What each cloud is asked, and how its answers are read. The answers are those of the
//! clouds' own documentation.

use http::Method;
use shipway_preempt::Provider;

use crate::stand_in::{Asked, StandIn, answer, foreseen, google};

const NAME: &str = "/metadata/instance/compute/name";

fn events(kind: &str, resources: &str) -> String {
    format!(
        r#"{{"DocumentIncarnation": 2, "Events": [
            {{"EventId": "0-other", "EventType": "Preempt", "ResourceType": "VirtualMachine", "Resources": ["farm_8"],
              "EventStatus": "Scheduled", "NotBefore": "", "Description": "", "EventSource": "Platform"}},
            {{"EventId": "C7061BAC-AFDC-4513-B24B-AA5F13A16123", "EventType": "{kind}", "ResourceType": "VirtualMachine",
              "Resources": [{resources}], "EventStatus": "Scheduled", "NotBefore": "Mon, 11 Apr 2022 22:26:58 GMT",
              "Description": "Spot", "EventSource": "Platform", "DurationInSeconds": -1}}]}}"#
    )
}

fn is_azures(asked: &Asked) -> bool {
    asked.headers().get("metadata").is_some_and(|value| value == "true")
}

/// Nothing twice, then an event.
async fn azure(kind: &'static str, resources: &'static str) -> StandIn {
    StandIn::start(move |before, asked| match (is_azures(asked), asked.method(), asked.uri().path()) {
        (false, ..) => answer(400, "Metadata: true is missing"),
        (_, &Method::POST, _) => answer(200, ""),
        (_, _, NAME) => answer(200, "farm_7\n"),
        _ if before < 3 => answer(200, r#"{"DocumentIncarnation": 1, "Events": []}"#),
        _ => answer(200, &events(kind, resources)),
    })
    .await
}

#[tokio::test]
async fn azure_tells_of_this_machine_and_hears_that_it_is_free_to_go() {
    let stand_in = azure("Preempt", r#""farm_7""#).await;
    let mut watch = stand_in.watch(Provider::Azure);
    let preempted = foreseen(watch.as_mut()).await;
    assert_eq!(preempted.what, "Preempt");
    assert_eq!(preempted.not_before.as_deref(), Some("Mon, 11 Apr 2022 22:26:58 GMT"));
    watch.ready(&preempted).await;
    let asked = stand_in.asked();
    assert_eq!(asked.iter().filter(|asked| asked.uri().path() == NAME).count(), 1, "the name is asked for once");
    let last = asked.last().unwrap();
    assert_eq!(last.uri(), "/metadata/scheduledevents?api-version=2020-07-01");
    assert_eq!(last.method(), Method::POST);
    assert_eq!(last.body(), r#"{"StartRequests":[{"EventId":"C7061BAC-AFDC-4513-B24B-AA5F13A16123"}]}"#);
}

#[tokio::test]
async fn an_event_of_several_machines_is_not_ours_to_approve() {
    let stand_in = azure("Redeploy", r#""farm_6", "farm_7""#).await;
    let mut watch = stand_in.watch(Provider::Azure);
    let preempted = foreseen(watch.as_mut()).await;
    assert_eq!(preempted.what, "Redeploy");
    watch.ready(&preempted).await;
    assert!(stand_in.asked().iter().all(|asked| asked.method() == Method::GET));
}

#[tokio::test]
async fn events_of_other_machines_and_short_pauses_change_nothing() {
    for (kind, resources) in [("Terminate", r#""farm_8", "FARM_7""#), ("Freeze", r#""farm_7""#)] {
        let stand_in = azure(kind, resources).await;
        let mut watch = stand_in.watch(Provider::Azure);
        let enough = async {
            while stand_in.asked().len() < 10 {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            preempted = foreseen(watch.as_mut()) => panic!("{kind}: {preempted:?}"),
            () = enough => {}
        }
    }
}

#[tokio::test]
async fn aws_tells_with_a_token_that_is_renewed() {
    let stand_in = StandIn::start(|before, asked| {
        let token = asked.headers().get("x-aws-ec2-metadata-token").and_then(|value| value.to_str().ok());
        match (asked.method(), asked.uri().path(), token) {
            (&Method::PUT, "/latest/api/token", _) if before == 0 => answer(200, "AQAEA-first=="),
            (&Method::PUT, "/latest/api/token", _) => answer(200, "AQAEA-second=="),
            (_, "/latest/meta-data/spot/instance-action", Some("AQAEA-first==")) if before < 4 => {
                answer(404, "<html/>")
            }
            (_, "/latest/meta-data/spot/instance-action", Some("AQAEA-second==")) => {
                answer(200, r#"{"action": "terminate", "time": "2017-09-18T08:22:00Z"}"#)
            }
            _ => answer(401, ""),
        }
    })
    .await;
    let mut watch = stand_in.watch(Provider::Aws);
    let preempted = foreseen(watch.as_mut()).await;
    assert_eq!((preempted.what.as_str(), preempted.not_before.as_deref()), ("terminate", Some("2017-09-18T08:22:00Z")));
    watch.ready(&preempted).await;
    let asked = stand_in.asked();
    let tokens: Vec<_> = asked.iter().filter(|asked| asked.method() == Method::PUT).collect();
    assert_eq!(tokens.len(), 2);
    assert_eq!(tokens[0].headers()["x-aws-ec2-metadata-token-ttl-seconds"], "300");
}

#[tokio::test]
async fn gcp_tells_by_a_flag() {
    let stand_in = StandIn::start(|before, asked| match asked.headers().get("metadata-flavor") {
        Some(flavor) if flavor == "Google" && before < 3 => google("FALSE"),
        Some(flavor) if flavor == "Google" => google("TRUE\n"),
        _ => answer(403, "Metadata-Flavor: Google is missing"),
    })
    .await;
    let mut watch = stand_in.watch(Provider::Gcp);
    assert_eq!(foreseen(watch.as_mut()).await.what, "preempted");
    assert!(stand_in.asked().iter().all(|asked| asked.uri() == "/computeMetadata/v1/instance/preempted"));
    assert_eq!(stand_in.asked().len(), 4);
}
