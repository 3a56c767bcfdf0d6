//! Azure: scheduled events, <https://learn.microsoft.com/azure/virtual-machines/linux/scheduled-events>.
//!
//! The document lists events of all machines of a scale set or availability set, so each is
//! held against this machine's own name. What only pauses the machine for seconds
//! (`Freeze`) is no matter for a worker: its lease bridges that, or is taken over.

use async_trait::async_trait;
use bytes::Bytes;
use http::Method;
use serde::Deserialize;

use crate::Preempted;
use crate::metadata::{Metadata, MetadataError};
use crate::watch::Cloud;

const EVENTS: &str = "/metadata/scheduledevents?api-version=2020-07-01";
const NAME: &str = "/metadata/instance/compute/name?api-version=2021-02-01&format=text";
const ASKED_FROM_WITHIN: [(&str, &str); 1] = [("Metadata", "true")];
/// Kinds of event that end what runs here.
const ENDING: [&str; 4] = ["Preempt", "Terminate", "Reboot", "Redeploy"];

#[derive(Debug)]
pub(crate) struct Azure {
    metadata: Metadata,
    /// This machine, as the events call it; asked for once.
    name: Option<String>,
}

#[derive(Deserialize)]
struct Document {
    #[serde(rename = "Events", default)]
    events: Vec<Event>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Event {
    event_id: String,
    event_type: String,
    #[serde(default)]
    resources: Vec<String>,
    #[serde(default)]
    not_before: Option<String>,
}

impl Azure {
    pub(crate) const fn new(metadata: Metadata) -> Self {
        Self { metadata, name: None }
    }

    async fn name(&mut self) -> Result<String, MetadataError> {
        if let Some(name) = &self.name {
            return Ok(name.clone());
        }
        let answered = self.metadata.get(NAME, &ASKED_FROM_WITHIN).await?.good()?;
        let name = answered.text();
        if name.is_empty() {
            return Err(answered.wrong(Some("it has no name".to_owned())));
        }
        self.name = Some(name.clone());
        Ok(name)
    }
}

impl Event {
    fn is_ending(&self, machine: &str) -> bool {
        ENDING.contains(&self.event_type.as_str()) && self.resources.iter().any(|name| name == machine)
    }

    /// An event is approved for all machines it names: only one of ours alone is ours to
    /// approve.
    fn into_preempted(self) -> Preempted {
        let reply = (self.resources.len() == 1).then_some(self.event_id);
        Preempted { reply, ..Preempted::new(self.event_type).not_before(self.not_before) }
    }
}

#[async_trait]
impl Cloud for Azure {
    async fn ask(&mut self) -> Result<Option<Preempted>, MetadataError> {
        let machine = self.name().await?;
        let document: Document = self.metadata.get(EVENTS, &ASKED_FROM_WITHIN).await?.good()?.json()?;
        Ok(document.events.into_iter().find(|event| event.is_ending(&machine)).map(Event::into_preempted))
    }

    async fn tell_ready(&mut self, preempted: &Preempted) -> Result<(), MetadataError> {
        let Some(event) = &preempted.reply else {
            return Ok(());
        };
        let body = serde_json::json!({ "StartRequests": [{ "EventId": event }] }).to_string();
        self.metadata.ask(Method::POST, EVENTS, &ASKED_FROM_WITHIN, Bytes::from(body)).await?.good().map(drop)
    }
}
