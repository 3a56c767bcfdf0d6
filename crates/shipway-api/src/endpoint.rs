//! The table of routes: each row is a route, its guard and its documentation.
//!
//! A row cannot be made without saying who may use it ([`Access`]), how long it
//! may take ([`Pace`]) and what it answers ([`Doc`]); the router, the OpenAPI
//! document and the check of query parameters are all made from the same rows, so
//! they cannot disagree.

use axum::Router;
use axum::handler::Handler;
use axum::middleware;
use axum::routing::{MethodFilter, MethodRouter, on};
use http::Method;
use shipway_api_types::ProblemCode;

use crate::access::Access;
use crate::app::App;
use crate::guard;
use crate::reply::ErrorStyle;

/// One route.
pub(crate) struct Endpoint {
    pub(crate) rules: &'static Rules,
    handler: MethodRouter<App>,
}

/// Everything about a route but its code.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) verb: Verb,
    pub(crate) path: &'static str,
    pub(crate) access: Access,
    pub(crate) pace: Pace,
    pub(crate) doc: Doc,
    pub(crate) errors: ErrorStyle,
}

/// The methods our routes use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Get,
    Put,
    Post,
    Delete,
}

impl Verb {
    const fn filter(self) -> MethodFilter {
        match self {
            Self::Get => MethodFilter::GET,
            Self::Put => MethodFilter::PUT,
            Self::Post => MethodFilter::POST,
            Self::Delete => MethodFilter::DELETE,
        }
    }

    /// In lower case, as OpenAPI has it.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Put => "put",
            Self::Post => "post",
            Self::Delete => "delete",
        }
    }

    pub(crate) const fn method(self) -> Method {
        match self {
            Self::Get => Method::GET,
            Self::Put => Method::PUT,
            Self::Post => Method::POST,
            Self::Delete => Method::DELETE,
        }
    }
}

/// How long a route may take, and which of the limits on concurrency counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// Answers from memory; never counted, so that probes get through a crowd.
    Instant,
    /// Reads or writes the store.
    Quick,
    /// May wait for a change to be done, at most `?wait=`.
    Waits,
    /// Takes a large body; the route's own code watches the time.
    Uploads,
    /// Answers with a stream that may last for ever.
    Streams,
    /// May start work, waits for it, and answers with what it made; the route's own code
    /// watches the time. So it is no harmless GET.
    Downloads,
}

/// What the OpenAPI document says about a route.
#[derive(Debug)]
pub(crate) struct Doc {
    /// Unique; generated clients name their functions by it.
    pub(crate) id: &'static str,
    pub(crate) tag: &'static str,
    pub(crate) summary: &'static str,
    pub(crate) description: &'static str,
    pub(crate) parameters: &'static [Parameter],
    pub(crate) request: Option<Content>,
    pub(crate) answers: &'static [Answer],
    /// Beside those that every route of its [`Access`] may answer with.
    pub(crate) problems: &'static [ProblemCode],
}

/// A parameter of a route.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parameter {
    pub(crate) place: Place,
    pub(crate) name: &'static str,
    pub(crate) form: Form,
    pub(crate) doc: &'static str,
}

/// Where a parameter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Path,
    Query,
    Header,
}

/// What a parameter's value looks like.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Form {
    Text,
    Flag,
    Integer { least: u64, most: u64 },
    OneOf(&'static [&'static str]),
}

/// The body of a request or an answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Content {
    pub(crate) media: &'static [&'static str],
    /// Name of a schema, or `None` for bytes or text.
    pub(crate) schema: Option<&'static str>,
}

impl Content {
    pub(crate) const fn json(schema: &'static str) -> Self {
        Self { media: &["application/json"], schema: Some(schema) }
    }

    pub(crate) const fn stream(schema: &'static str) -> Self {
        Self { media: &["application/x-ndjson", "text/event-stream"], schema: Some(schema) }
    }

    pub(crate) const fn plain(media: &'static [&'static str]) -> Self {
        Self { media, schema: None }
    }
}

/// One way a route answers when all is well.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) doc: &'static str,
    pub(crate) content: Option<Content>,
}

impl Endpoint {
    /// Binds a route's code to its rules.
    pub(crate) fn new<H, T>(rules: &'static Rules, handler: H) -> Self
    where
        H: Handler<T, App>,
        T: 'static,
    {
        Self { rules, handler: on(rules.verb.filter(), handler) }
    }

    /// Adds the route to a router, behind its guard.
    pub(crate) fn mount(self, router: Router<App>, app: &App) -> Router<App> {
        let state = (app.clone(), self.rules);
        let guard = middleware::from_fn_with_state(state, guard::guard);
        router.route(self.rules.path, self.handler.layer(guard))
    }
}

impl Parameter {
    pub(crate) const fn path(name: &'static str, doc: &'static str) -> Self {
        Self { place: Place::Path, name, form: Form::Text, doc }
    }

    pub(crate) const fn query(name: &'static str, form: Form, doc: &'static str) -> Self {
        Self { place: Place::Query, name, form, doc }
    }

    pub(crate) const fn header(name: &'static str, doc: &'static str) -> Self {
        Self { place: Place::Header, name, form: Form::Text, doc }
    }
}
