//! The moment a release becomes live, or is known not to.
//!
//! ```text
//! publish(release 2, container b), one transaction:
//!
//!   release 1   live ─────► retired       container a   live ───────► draining
//!   release 2   starting ─► live          container b   candidate ──► live
//!   service     … ────────► live(2)       task          running ────► done
//! ```
//!
//! Whoever reads the store sees all of it or nothing, and so does whoever comes
//! after a crash. A worker that lost its lease meanwhile changes nothing.

use shipway_model::task::Failure;
use shipway_model::{ContainerId, EventKind, Outcome, ReleaseState, Service, ServiceState};

use crate::door::Tx;
use crate::held::{Held, LeaseKey};
use crate::query::query;
use crate::services::check_arrow;
use crate::values::subject_of;
use crate::{Lease, Store, StoreError, releases};

impl Store {
    /// Makes a release live: the old one is retired, `instance` becomes the live
    /// instance, the old live instance is set to draining, the service is `live`,
    /// events are appended, and the task ends, in one transaction.
    ///
    /// Publishing the release that is live already (a restart, a repair) swaps
    /// the instance only.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotFound`] when there is no such release, when it has failed,
    /// or when `instance` is no instance of it; [`StoreError::Illegal`],
    /// [`StoreError::Stale`], [`StoreError::Unavailable`], [`StoreError::Corrupt`].
    pub async fn publish(
        &self,
        lease: &Lease,
        release: u32,
        instance: ContainerId,
        outcome: &Outcome,
    ) -> Result<(), StoreError> {
        let (lease, outcome) = (lease.key(), outcome.clone());
        self.write(move |tx| Box::pin(tx.publish(lease, release, instance, outcome))).await
    }

    /// Records that a release did not become ready, and ends the task. The
    /// service becomes `failed` only if visitors reach nothing: from `starting`,
    /// or from `failed` with a new reason. A release that was live before (a
    /// rollback, a restart) stays what it is.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotFound`] when there is no such release,
    /// [`StoreError::Stale`], [`StoreError::Unavailable`], [`StoreError::Corrupt`].
    pub async fn fail_release(&self, lease: &Lease, release: u32, failure: &Failure) -> Result<(), StoreError> {
        let (lease, failure) = (lease.key(), failure.clone());
        self.write(move |tx| Box::pin(tx.fail_release(lease, release, failure))).await
    }
}

impl Tx {
    async fn fail_release(&mut self, lease: LeaseKey, release: u32, failure: Failure) -> Result<(), StoreError> {
        let held = Held::by(self, lease).await?;
        let service = held.service(self).await?;
        self.fail_one_release(&service, release, &failure).await?;
        if let ServiceState::Starting | ServiceState::Failed { .. } = service.state {
            self.fail_service(&service, &failure).await?;
        }
        held.end(self, &Outcome::Failed(failure)).await
    }

    async fn publish(
        &mut self,
        lease: LeaseKey,
        release: u32,
        instance: ContainerId,
        outcome: Outcome,
    ) -> Result<(), StoreError> {
        let held = Held::by(self, lease).await?;
        let service = held.service(self).await?;
        self.make_release_live(&service, release).await?;
        self.make_instance_live(&service, release, instance).await?;
        self.make_service_live(&service, release).await?;
        #[cfg(feature = "mutants")]
        crate::mutants::between_publish_and_end(self).await?;
        held.end(self, &outcome).await
    }

    async fn make_release_live(&mut self, service: &Service, number: u32) -> Result<(), StoreError> {
        let id = service.id.to_string();
        let release = releases::find(self.db(), &id, number).await?;
        match release.map(|release| release.state) {
            None | Some(ReleaseState::Failed { .. }) => {
                return Err(StoreError::NotFound("release"));
            }
            Some(ReleaseState::Live) => return Ok(()),
            Some(ReleaseState::Starting | ReleaseState::Retired) => {}
        }
        query("UPDATE release SET state = 'retired' WHERE service = $1 AND state = 'live'")
            .bind(&id)
            .later(self.db())
            .await?;
        query("UPDATE release SET state = 'live' WHERE service = $1 AND number = $2")
            .bind(&id)
            .bind(i64::from(number))
            .later(self.db())
            .await?;
        Ok(())
    }

    async fn make_instance_live(
        &mut self,
        service: &Service,
        release: u32,
        instance: ContainerId,
    ) -> Result<(), StoreError> {
        self.demote_live_instance(service.id, instance).await?;
        let promoted: Option<String> = query(
            "UPDATE instance SET role = 'live'
             WHERE container = $1 AND service = $2 AND release = $3 RETURNING container",
        )
        .bind(instance.to_string())
        .bind(service.id.to_string())
        .bind(i64::from(release))
        .scalar_optional(self.db())
        .await?;
        if promoted.is_none() {
            return Err(StoreError::NotFound("instance"));
        }
        self.changed.services = true;
        Ok(())
    }

    async fn make_service_live(&mut self, service: &Service, release: u32) -> Result<(), StoreError> {
        let state = ServiceState::Live { release };
        if service.state == state {
            return Ok(());
        }
        check_arrow(&service.state, &state)?;
        self.update_service(service.id, &state, service.wanted).await?;
        let event = EventKind::ReleaseLive { release };
        self.event(&subject_of(service.id), service.project.as_str(), &event).await
    }

    async fn fail_one_release(&mut self, service: &Service, number: u32, failure: &Failure) -> Result<(), StoreError> {
        let id = service.id.to_string();
        releases::find(self.db(), &id, number).await?.ok_or(StoreError::NotFound("release"))?;
        query(
            "UPDATE release SET state = 'failed', reason = $3
             WHERE service = $1 AND number = $2 AND state = 'starting'",
        )
        .bind(&id)
        .bind(i64::from(number))
        .bind(&failure.detail)
        .later(self.db())
        .await?;
        let event = EventKind::ReleaseFailed { release: number, reason: failure.detail.clone() };
        self.event(&subject_of(service.id), service.project.as_str(), &event).await
    }

    async fn fail_service(&mut self, service: &Service, failure: &Failure) -> Result<(), StoreError> {
        let state = ServiceState::Failed { reason: failure.detail.clone() };
        if service.state == state {
            return Ok(());
        }
        self.update_service(service.id, &state, service.wanted).await?;
        let event = EventKind::StateChanged {
            from: service.state.word().to_owned(),
            to: state.word().to_owned(),
            reason: Some(failure.detail.clone()),
        };
        self.event(&subject_of(service.id), service.project.as_str(), &event).await
    }
}
