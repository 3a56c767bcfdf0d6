//! Query parameters: known ones only, each once, of the form the table says.

use axum::extract::FromRequestParts;
use http::Uri;
use http::request::Parts;
use url::form_urlencoded;

use crate::endpoint::{Form, Parameter, Place, Rules};
use crate::reply::{ErrorStyle, Reject};

/// The query of a request that [`check`] let through.
#[derive(Debug, Clone, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    fn of(uri: &Uri) -> Self {
        let query = uri.query().unwrap_or_default().as_bytes();
        Self(form_urlencoded::parse(query).into_owned().collect())
    }

    /// The text of a parameter, if given.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Every text of a parameter that may be repeated.
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The number of a parameter, if given.
    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.text(name)?.parse().ok()
    }

    /// Whether a flag is set: `?follow`, `?follow=true`, `?follow=1`.
    pub(crate) fn flag(&self, name: &str) -> bool {
        matches!(self.text(name), Some("" | "true" | "1"))
    }
}

impl<S: Sync> FromRequestParts<S> for Query {
    type Rejection = Reject;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Reject> {
        Ok(Self::of(&parts.uri))
    }
}

/// Refuses parameters the route does not know, repeated ones, and wrong forms.
/// Routes of older systems ignore what they do not know.
pub(crate) fn check(rules: &Rules, uri: &Uri) -> Result<(), Reject> {
    if rules.errors != ErrorStyle::ProblemJson {
        return Ok(());
    }
    let query = Query::of(uri);
    for (at, (name, value)) in query.0.iter().enumerate() {
        let pointer = || format!("query:{name}");
        let known =
            rules.doc.parameters.iter().find(|parameter| parameter.place == Place::Query && parameter.name == name);
        let Some(parameter) = known else {
            return Err(Reject::parameter(pointer(), unknown(rules)));
        };
        if query.0[..at].iter().any(|(earlier, _)| earlier == name) {
            return Err(Reject::parameter(pointer(), "given twice"));
        }
        check_form(parameter, value).map_err(|detail| Reject::parameter(pointer(), detail))?;
    }
    Ok(())
}

fn unknown(rules: &Rules) -> String {
    let names: Vec<_> = rules
        .doc
        .parameters
        .iter()
        .filter(|parameter| parameter.place == Place::Query)
        .map(|parameter| parameter.name)
        .collect();
    if names.is_empty() {
        "there is no such parameter; this route has none".to_owned()
    } else {
        format!("there is no such parameter; there are {}", names.join(", "))
    }
}

fn check_form(parameter: &Parameter, value: &str) -> Result<(), String> {
    match parameter.form {
        Form::Text => Ok(()),
        Form::Flag if matches!(value, "" | "true" | "false" | "1" | "0") => Ok(()),
        Form::Flag => Err(format!("expected true or false, not `{value}`")),
        Form::Integer { least, most } => match value.parse::<u64>() {
            Ok(number) if (least..=most).contains(&number) => Ok(()),
            _ => Err(format!("expected a whole number from {least} to {most}, not `{value}`")),
        },
        Form::OneOf(words) if words.contains(&value) => Ok(()),
        Form::OneOf(words) => Err(format!("expected {}, not `{value}`", words.join(" or "))),
    }
}
