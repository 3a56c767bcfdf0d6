//! Who may do what: one function, asked by every route.
//!
//! A route cannot be registered without an [`Access`]; the guard turns the
//! request into an [`Actor`] and asks [`authorize`] before the route's own code
//! runs, and whoever loads a thing asks again with the thing itself. What an actor
//! may not even see is answered like what does not exist.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::request::Parts;
use shipway_model::{ProjectName, TokenId};

use crate::reply::Reject;

/// Who is asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Actor {
    /// Nobody we know.
    Anonymous,
    /// Somebody on this machine whom the kernel vouches for: root on the admin
    /// socket, or a peer that `api.open: loopback` lets in.
    Local,
    /// The holder of a token.
    Token {
        /// Its id.
        id: TokenId,
        /// What it may do.
        role: Role,
        /// Whose things it reaches.
        project: ProjectName,
    },
}

/// What a token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Everything within its project.
    Admin,
    /// A role of a later release's: nothing, rather than too much.
    Unknown,
}

impl Role {
    /// Reads the store's word.
    pub(crate) fn from_word(word: &str) -> Self {
        match word {
            "admin" => Self::Admin,
            _ => Self::Unknown,
        }
    }
}

impl Actor {
    /// Whose things this actor means when it gives a name.
    pub(crate) fn project(&self) -> ProjectName {
        match self {
            Self::Token { project, .. } => project.clone(),
            Self::Anonymous | Self::Local => ProjectName::default(),
        }
    }

    /// For events: a token's id, `local`, or `anonymous`.
    pub(crate) fn word(&self) -> String {
        match self {
            Self::Anonymous => "anonymous".to_owned(),
            Self::Local => "local".to_owned(),
            Self::Token { id, .. } => id.to_string(),
        }
    }
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// See services, releases, events, logs, stats.
    Read,
    /// Deploy, start, stop, restart, roll back, upload.
    Change,
    /// Forget a service.
    Delete,
    /// Import, make and remove images.
    Images,
    /// Run a process in a service's container.
    Exec,
    /// Make, list and revoke tokens.
    Tokens,
    /// Read the metrics, and why something is not ready.
    Observe,
    /// See the project's tasks, have them done anew.
    Queue,
    /// See workers, take them out of the queue. They are everybody's, so it is for those
    /// who look after the whole platform.
    Workers,
    /// Ask for builds, cancel them, fetch what they made.
    Build,
    /// Deploy by an older system's endpoint, open to everybody by configuration.
    DeployAnonymously,
    /// Build by an older system's endpoint, open to everybody by configuration.
    BuildAnonymously,
}

/// What it is asked for on.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Resource<'a> {
    /// Things of this project.
    Project(&'a ProjectName),
    /// The platform as a whole.
    Platform,
}

/// Why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Denied {
    /// Nobody we know: say who you are.
    Unauthenticated,
    /// Known, and not allowed.
    Forbidden,
    /// Not even to be seen.
    Hidden,
}

/// Decides whether `actor` may do `action` on `resource`.
pub(crate) fn authorize(actor: &Actor, action: Action, resource: Resource<'_>) -> Result<(), Denied> {
    match actor {
        Actor::Local => Ok(()),
        Actor::Anonymous if matches!(action, Action::DeployAnonymously | Action::BuildAnonymously) => Ok(()),
        Actor::Anonymous => Err(Denied::Unauthenticated),
        Actor::Token { role, project, .. } => match (role, resource) {
            (Role::Unknown, _) => Err(Denied::Forbidden),
            // Tokens of the platform's own project are those of whoever set it up.
            (Role::Admin, Resource::Platform) if action == Action::Workers && *project != ProjectName::default() => {
                Err(Denied::Forbidden)
            }
            (Role::Admin, Resource::Platform) => Ok(()),
            (Role::Admin, Resource::Project(owner)) if owner == project => Ok(()),
            (Role::Admin, Resource::Project(_)) => Err(Denied::Hidden),
        },
    }
}

/// What a route asks of its caller. Every route has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Nothing: probes, the index, the documentation.
    Public,
    /// To be allowed this.
    Needs(Action),
}

/// The caller of a route, put there by the guard.
#[derive(Debug, Clone)]
pub(crate) struct Caller(pub(crate) Arc<Actor>);

impl Caller {
    /// Asks [`authorize`] about a thing that was just loaded.
    pub(crate) fn may(&self, action: Action, owner: &ProjectName) -> Result<(), Reject> {
        authorize(&self.0, action, Resource::Project(owner)).map_err(Reject::from)
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Reject;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Reject> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| Reject::internal("a route ran without its guard"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(role: Role, project: &str) -> Actor {
        Actor::Token { id: TokenId(uuid::Uuid::nil()), role, project: project.parse().unwrap() }
    }

    const ACTIONS: [Action; 10] = [
        Action::Read,
        Action::Change,
        Action::Delete,
        Action::Images,
        Action::Exec,
        Action::Tokens,
        Action::Observe,
        Action::Queue,
        Action::Workers,
        Action::Build,
    ];

    #[test]
    fn nobody_may_do_nothing_but_what_is_open_to_everybody() {
        let project = ProjectName::default();
        for action in ACTIONS {
            let answer = authorize(&Actor::Anonymous, action, Resource::Project(&project));
            assert_eq!(answer, Err(Denied::Unauthenticated), "{action:?}");
        }
        for action in [Action::DeployAnonymously, Action::BuildAnonymously] {
            assert_eq!(authorize(&Actor::Anonymous, action, Resource::Project(&project)), Ok(()));
        }
    }

    #[test]
    fn an_admin_sees_its_own_project_and_no_other() {
        let (own, foreign) = ("mine".parse().unwrap(), "theirs".parse().unwrap());
        let actor = token(Role::Admin, "mine");
        for action in ACTIONS {
            assert_eq!(authorize(&actor, action, Resource::Project(&own)), Ok(()));
            assert_eq!(authorize(&actor, action, Resource::Project(&foreign)), Err(Denied::Hidden));
        }
    }

    #[test]
    fn workers_are_for_those_who_look_after_the_platform() {
        let may = |actor: &Actor| authorize(actor, Action::Workers, Resource::Platform);
        assert_eq!(may(&token(Role::Admin, "default")), Ok(()));
        assert_eq!(may(&Actor::Local), Ok(()));
        assert_eq!(may(&token(Role::Admin, "mine")), Err(Denied::Forbidden));
        assert_eq!(authorize(&token(Role::Admin, "mine"), Action::Observe, Resource::Platform), Ok(()));
    }

    #[test]
    fn a_role_we_do_not_know_may_do_nothing() {
        let own = "mine".parse().unwrap();
        let actor = token(Role::from_word("deity"), "mine");
        for action in ACTIONS {
            assert_eq!(authorize(&actor, action, Resource::Project(&own)), Err(Denied::Forbidden));
        }
    }
}
