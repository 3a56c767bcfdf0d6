//! From what the store has to what the API shows.

use serde_json::{Map, Value};
use shipway_api_types as api;
use shipway_model as model;
use shipway_stdx::clock::rfc3339;

use crate::config::ApiConfig;

/// A service, with the kind of its live release.
pub(crate) fn service(
    config: &ApiConfig,
    service: &model::Service,
    kind: Option<model::ContentKind>,
    worker: Option<api::ServiceWorker>,
) -> api::Service {
    let urls = urls(config, service);
    api::Service {
        id: service.id.to_string(),
        name: service.name.to_string(),
        project: service.project.to_string(),
        state: state(&service.state),
        reason: match &service.state {
            model::ServiceState::Unhealthy { reason, .. } | model::ServiceState::Failed { reason } => {
                Some(reason.clone())
            }
            _ => None,
        },
        wanted: match service.wanted {
            model::Wanted::Running => api::Wanted::Running,
            model::Wanted::Stopped => api::Wanted::Stopped,
        },
        release: service.state.live_release(),
        kind: kind.map(content_kind),
        url: urls[0].clone(),
        urls,
        created_at: rfc3339(service.created_at),
        updated_at: rfc3339(service.updated_at),
        etag: etag(service.version),
        worker,
    }
}

/// The `ETag` of a service's version.
pub(crate) fn etag(version: u64) -> String {
    format!("\"v{version}\"")
}

/// Where visitors find a service: by id always, by name in project `default`.
fn urls(config: &ApiConfig, service: &model::Service) -> Vec<String> {
    let mut urls = vec![url(config, &service.id.to_string())];
    if service.project == model::ProjectName::default() {
        urls.push(url(config, service.name.as_str()));
    }
    urls
}

/// The URL of a host label.
pub(crate) fn url(config: &ApiConfig, label: &str) -> String {
    match config.public_port {
        80 => format!("http://{label}.{}", config.host),
        port => format!("http://{label}.{}:{port}", config.host),
    }
}

const fn state(state: &model::ServiceState) -> api::ServiceState {
    match state {
        model::ServiceState::Starting => api::ServiceState::Starting,
        model::ServiceState::Live { .. } => api::ServiceState::Live,
        model::ServiceState::Unhealthy { .. } => api::ServiceState::Unhealthy,
        model::ServiceState::Stopped { .. } => api::ServiceState::Stopped,
        model::ServiceState::Failed { .. } => api::ServiceState::Failed,
    }
}

const fn content_kind(kind: model::ContentKind) -> api::ContentKind {
    match kind {
        model::ContentKind::Static => api::ContentKind::Static,
        model::ContentKind::Script => api::ContentKind::Script,
    }
}

/// A release.
pub(crate) fn release(release: &model::Release) -> api::Release {
    let spec = &release.spec;
    let (state, reason) = release_state(&release.state);
    let (model::RootFs::HostImage { digest: root } | model::RootFs::Image { digest: root }) = &spec.root;
    let mut shown = api::Release {
        number: release.number,
        state,
        reason,
        source: None,
        kind: None,
        runner: None,
        image: None,
        command: None,
        port: None,
        protocol: None,
        root: root.to_string(),
        env: spec.env.clone(),
        limits: limits(&spec.limits),
        health: api::HealthCheck { path: spec.health.path.clone(), deadline_ms: Some(spec.health.deadline_ms) },
        egress: match spec.egress {
            model::Egress::None => api::Egress::None,
            model::Egress::Internet => api::Egress::Internet,
        },
        created_at: rfc3339(release.created_at),
    };
    match &spec.program {
        model::ReleaseProgram::Content { source: content, kind, runner } => {
            shown.source = Some(source(content));
            shown.kind = Some(content_kind(*kind));
            shown.runner = Some(match runner {
                model::Runner::Native => api::Runner::Native,
                model::Runner::Nginx => api::Runner::Nginx,
            });
        }
        model::ReleaseProgram::Command { image, command, port, protocol } => {
            shown.image = Some(image.clone());
            shown.command = Some(command.clone());
            shown.port = Some(*port);
            shown.protocol = Some(match protocol {
                model::Protocol::Http1 => api::Protocol::Http1,
                model::Protocol::H2c => api::Protocol::H2c,
            });
        }
    }
    shown
}

/// An image, with the services that need it.
pub(crate) fn image(image: &shipway_store::Image, services: Vec<String>) -> api::Image {
    api::Image {
        name: image.name.clone(),
        digest: image.digest.to_string(),
        size_bytes: image.size_bytes,
        entries: image.entries,
        source: image.source.clone(),
        services,
        created_at: rfc3339(image.created_at),
    }
}

fn release_state(state: &model::ReleaseState) -> (api::ReleaseState, Option<String>) {
    match state {
        model::ReleaseState::Starting => (api::ReleaseState::Starting, None),
        model::ReleaseState::Live => (api::ReleaseState::Live, None),
        model::ReleaseState::Retired => (api::ReleaseState::Retired, None),
        model::ReleaseState::Failed { reason } => (api::ReleaseState::Failed, Some(reason.clone())),
    }
}

fn source(source: &model::Source) -> api::Source {
    api::Source {
        digest: source.digest.to_string(),
        size_bytes: source.size_bytes,
        content_type: source.content_type.clone(),
        file_name: source.file_name.clone(),
        url: source.url.clone(),
    }
}

const fn limits(limits: &model::Limits) -> api::Limits {
    api::Limits {
        memory_bytes: Some(limits.memory_bytes),
        cpu_millis: Some(limits.cpu_millis),
        pids: Some(limits.pids),
        open_files: Some(limits.open_files),
        disk_bytes: Some(limits.disk_bytes),
        inodes: Some(limits.inodes),
        log_bytes: Some(limits.log_bytes),
        request_timeout_ms: Some(limits.request_timeout_ms),
        request_output_bytes: Some(limits.request_output_bytes),
        concurrency: Some(limits.concurrency),
        egress_connections: Some(limits.egress_connections),
        egress_bytes_per_second: Some(limits.egress_bytes_per_second),
    }
}

/// An event. Its kind's fields stand beside the common ones.
pub(crate) fn event(event: &model::Event) -> api::Event {
    let mut fields = match serde_json::to_value(&event.kind) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    };
    let word = fields.shift_remove("event");
    api::Event {
        subject: event.subject.clone(),
        seq: event.seq,
        at: rfc3339(event.at),
        event: match word {
            Some(Value::String(word)) => word,
            _ => "unknown".to_owned(),
        },
        fields,
    }
}

/// A token, without its secret.
pub(crate) fn token(token: &shipway_store::Token) -> api::Token {
    api::Token {
        id: token.id.to_string(),
        name: token.name.clone(),
        role: token.role.clone(),
        project: token.project.to_string(),
        created_at: rfc3339(token.created_at),
        expires_at: token.expires_at.map(rfc3339),
        last_used_at: token.last_used_at.map(rfc3339),
    }
}

/// What differs between two releases: every leaf of what decides how they run.
pub(crate) fn diff(from: &model::Release, to: &model::Release) -> api::ReleaseDiff {
    let (mut before, mut after) = (Vec::new(), Vec::new());
    leaves("", &decisive(from), &mut before);
    leaves("", &decisive(to), &mut after);
    let find = |rows: &[(String, Value)], field: &str| {
        let found = rows.iter().find(|(name, _)| name == field);
        found.map(|(_, value)| value.clone())
    };
    let mut fields: Vec<&String> = before.iter().chain(&after).map(|(name, _)| name).collect();
    fields.sort_unstable();
    fields.dedup();
    let changes = fields
        .into_iter()
        .map(|field| api::Change { field: field.clone(), from: find(&before, field), to: find(&after, field) })
        .filter(|change| change.from != change.to)
        .collect();
    api::ReleaseDiff { from: from.number, to: to.number, changes }
}

/// A release without what is its own history: number, state, time.
fn decisive(release: &model::Release) -> Value {
    let mut shown = serde_json::to_value(self::release(release)).unwrap_or_default();
    if let Value::Object(fields) = &mut shown {
        for history in ["number", "state", "reason", "created_at"] {
            fields.shift_remove(history);
        }
    }
    shown
}

fn leaves(path: &str, value: &Value, into: &mut Vec<(String, Value)>) {
    let Value::Object(fields) = value else {
        into.push((path.to_owned(), value.clone()));
        return;
    };
    for (name, value) in fields {
        let path = match path {
            "" => name.clone(),
            path => format!("{path}.{name}"),
        };
        leaves(&path, value, into);
    }
}
