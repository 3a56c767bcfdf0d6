//! How things look to people.

use shipway_api_types::{Event, Service, ServiceState};

/// Text from a container, a URL or anybody else, made harmless for a terminal:
/// control characters could move the cursor, change the title or worse, and the
/// marks that turn the direction of text could make it read as something else.
pub(crate) fn harmless(text: &str) -> String {
    let turns =
        |letter: char| matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let is_bad = |letter: char| (letter.is_control() && letter != '\t') || turns(letter);
    if !text.contains(is_bad) {
        return text.to_owned();
    }
    text.chars()
        .flat_map(|letter| {
            let shown: Vec<char> = if is_bad(letter) { letter.escape_default().collect() } else { vec![letter] };
            shown
        })
        .collect()
}

/// What stands for the state of a service whose worker has gone.
const UNREACHABLE: &str = "unreachable";

/// The colour of a state, as an SGR number.
pub(crate) const fn colour(state: ServiceState) -> &'static str {
    match state {
        ServiceState::Live => "32",
        ServiceState::Starting => "33",
        ServiceState::Unhealthy | ServiceState::Failed => "31",
        ServiceState::Stopped => "2",
    }
}

/// A state's colour by its word.
pub(crate) fn colour_of_word(word: &str) -> Option<&'static str> {
    let state = ServiceState::ALL.into_iter().find(|state| state.word() == word);
    match (state, word) {
        (Some(state), _) => Some(colour(state)),
        (None, "retired") => Some("2"),
        (None, UNREACHABLE) => Some("31"),
        _ => None,
    }
}

/// The state, as far as anybody knows: that of a service whose worker has gone is what it
/// was when that was last heard of.
pub(crate) fn state(service: &Service) -> &'static str {
    match &service.worker {
        Some(worker) if !worker.reachable => UNREACHABLE,
        _ => service.state.word(),
    }
}

/// The release it is about.
pub(crate) fn release(service: &Service) -> String {
    service.release.map_or_else(|| "-".to_owned(), |number| number.to_string())
}

/// What happened, in a sentence.
pub(crate) fn event(event: &Event) -> String {
    let field = |name: &str| {
        event.fields.get(name).map(|value| match value {
            serde_json::Value::String(text) => text.clone(),
            other => other.to_string(),
        })
    };
    let of = |name: &str| field(name).unwrap_or_default();
    match event.event.as_str() {
        "change_requested" => format!("{} asked for by {}", of("change"), of("actor")),
        "release_created" => format!("release {} made", of("release")),
        "release_live" => format!("release {} is live", of("release")),
        "release_failed" => format!("release {} did not become ready: {}", of("release"), of("reason")),
        "container_died" => {
            format!("container of release {} died ({}), {} in a row", of("release"), of("exit"), of("failures"))
        }
        "container_restarted" => format!("release {} answers again", of("release")),
        "crash_loop" => format!("release {} keeps dying: {}", of("release"), of("reason")),
        "change_done" => format!("{} done", of("change")),
        "change_failed" => format!("{} failed: {} ({})", of("change"), of("detail"), of("code")),
        "stopped" => "stopped".to_owned(),
        "deleted" => "deleted".to_owned(),
        other => {
            let fields: Vec<String> = event.fields.keys().map(|name| format!("{name}={}", of(name))).collect();
            format!("{other} {}", fields.join(" ")).trim_end().to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_not_at_the_mercy_of_a_log() {
        assert_eq!(harmless("plain\ttext é"), "plain\ttext é");
        assert_eq!(harmless("\u{1b}[2Jgone\r"), "\\u{1b}[2Jgone\\r");
        assert_eq!(harmless("\u{202e}fdp.exe"), "\\u{202e}fdp.exe");
    }

    #[test]
    fn an_event_nobody_told_us_about_is_still_shown() {
        let event: Event = serde_json::from_str(
            r#"{"subject":"service/x","seq":1,"at":"t","event":"moved","to":"the moon","release":3}"#,
        )
        .unwrap();
        assert_eq!(self::event(&event), "moved to=the moon release=3");
    }
}
