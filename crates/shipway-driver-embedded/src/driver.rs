//! The driver contract, call by call.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use shipway_driver::{
    Driver, DriverError, ExecSession, ExecSpec, Exit, LogLine, LogQuery, Seen, Started, Stats, Workload,
};
use shipway_engine::host_image::{HostImageConfig, HostImageError, HostImages};
use shipway_engine::layers::{LayerError, Layers, TreeLimits};
use shipway_engine::{Engine, EngineConfig, EngineError, Phase, install_program};
use shipway_model::instance::Endpoint;
use shipway_model::{ContainerId, RootFs};

use crate::answer;
use crate::benches::{self, BenchConfig, Benches, Ground};
use crate::workload::{self, Places};

/// What the driver needs to know.
#[derive(Debug, Clone)]
pub struct EmbeddedConfig {
    /// Of the engine. The directories of host images and content are added to its
    /// `sources` by [`EmbeddedDriver::open`].
    pub engine: EngineConfig,
    /// Where host images are kept.
    pub images: PathBuf,
    /// What they are made of.
    pub host_image: HostImageConfig,
    /// Where imported images' trees are kept.
    pub layers: PathBuf,
    /// Where the files given to `start` as content are.
    pub content: PathBuf,
    /// Where builds are carried out, if they are.
    pub benches: Option<BenchConfig>,
}

/// Why the driver could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The engine could not.
    #[error("cannot open the container engine")]
    Engine(#[from] EngineError),
    /// The host images could not.
    #[error("cannot open the host images")]
    Images(#[from] HostImageError),
    /// The layers could not.
    #[error("cannot open the layers")]
    Layers(#[from] LayerError),
}

/// Containers of the embedded engine. Cheap to clone.
#[derive(Debug, Clone)]
pub struct EmbeddedDriver {
    engine: Engine,
    images: Arc<HostImages>,
    layers: Arc<Layers>,
    /// Or why this host cannot have them.
    benches: Result<Option<Benches>, String>,
    runner: PathBuf,
}

impl EmbeddedDriver {
    /// Takes possession of the engine root and finds its containers again.
    ///
    /// # Errors
    ///
    /// [`OpenError`]: the root is another process's, or the host lacks something.
    pub async fn open(config: EmbeddedConfig) -> Result<Self, OpenError> {
        let EmbeddedConfig { mut engine, images, host_image, layers, content, benches } = config;
        engine.sources.extend([images.clone(), layers.clone(), content]);
        engine.sources.extend(benches.iter().flat_map(BenchConfig::sources));
        let ground = ground(benches).await;
        let layers = Layers::open(&layers, TreeLimits::default())?;
        let bin = engine.root.join("bin");
        let engine = Engine::open(engine).await?;
        let images = Arc::new(HostImages::open(&images, host_image)?);
        benches::sweep(&engine).await?;
        let on = |ground| Benches::open(engine.clone(), Arc::clone(&images), ground);
        let benches = ground.map(|ground| ground.map(on));
        Ok(Self {
            engine,
            images,
            benches,
            layers: Arc::new(layers),
            // Everybody may read and run it: in its container it is somebody else's.
            runner: install_program(&bin, "runner", shipway_static::RUNNER, 0o755)?,
        })
    }

    /// The engine itself, for what the contract leaves out (`doctor`, benches).
    #[must_use]
    pub const fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The host images.
    #[must_use]
    pub const fn images(&self) -> &Arc<HostImages> {
        &self.images
    }

    /// Imported images' trees.
    #[must_use]
    pub const fn layers(&self) -> &Arc<Layers> {
        &self.layers
    }

    /// Where builds are carried out; `None` if they are not to be.
    ///
    /// # Errors
    ///
    /// What this host lacks for it.
    pub fn benches(&self) -> Result<Option<&Benches>, DriverError> {
        let unavailable = |why: &String| DriverError::Unavailable { what: why.clone(), hint: None };
        self.benches.as_ref().map(Option::as_ref).map_err(unavailable)
    }

    /// Gives the engine root up; containers run on.
    pub async fn close(self) {
        self.engine.close().await;
    }

    /// Makes the container, unless it is there.
    async fn create(&self, workload: &Workload, content: Option<&Path>) -> Result<(), DriverError> {
        let root = match &workload.root {
            RootFs::HostImage { digest } => self.images.path_of(digest).map_err(answer::image)?,
            RootFs::Image { digest } => self.layers.path_of(digest).map_err(answer::layer)?,
        };
        let places = Places { root: &root, runner: &self.runner, content };
        let spec = workload::spec(workload, &places)?;
        self.engine.create(spec).await.map_err(|error| answer::error(workload.container, error))
    }

    fn started(&self, container: ContainerId) -> Result<Started, DriverError> {
        let name = container.to_string();
        let failed = |error| answer::error(container, error);
        let seen = self.engine.inspect(&name).map_err(failed)?;
        let endpoint = self.engine.endpoint(&name).map_err(failed)?;
        let spec = self.engine.spec(&name).map_err(failed)?;
        Ok(Started {
            endpoint: endpoint.map(|path| answer::endpoint(spec.ingress, &path)),
            started_at: seen.started_at.unwrap_or_default(),
        })
    }
}

/// Before the engine is opened, whose launcher sees only what is there by then.
async fn ground(config: Option<BenchConfig>) -> Result<Option<Ground>, String> {
    let Some(config) = config else { return Ok(None) };
    let prepared = tokio::task::spawn_blocking(|| Ground::prepare(config)).await;
    let prepared = prepared.map_err(|error| error.to_string()).and_then(|prepared| prepared);
    if let Err(why) = &prepared {
        tracing::error!(why, "this host cannot carry out builds");
    }
    prepared.map(Some)
}

#[async_trait]
impl Driver for EmbeddedDriver {
    fn name(&self) -> &'static str {
        "embedded"
    }

    async fn current_root(&self) -> Result<RootFs, DriverError> {
        let image = self.images.current().await.map_err(answer::image)?;
        Ok(RootFs::HostImage { digest: image.digest })
    }

    async fn start(&self, workload: &Workload, content: Option<&Path>) -> Result<Started, DriverError> {
        let name = workload.container.to_string();
        match self.engine.inspect(&name).map(|seen| seen.phase) {
            // One id, one container, whatever has become of it.
            Ok(Phase::Running(_) | Phase::Exited(_)) => return self.started(workload.container),
            Ok(Phase::Created) => {}
            Err(_) => self.create(workload, content).await?,
        }
        if let Err(error) = self.engine.start(&name).await {
            // Never ran: nothing that anybody could want to look at.
            if let Err(error) = self.engine.remove(&name).await {
                tracing::warn!(container.id = name, %error, "a container that did not start stays");
            }
            return Err(answer::error(workload.container, error));
        }
        self.started(workload.container)
    }

    async fn stop(&self, container: ContainerId, grace: Duration) -> Result<Exit, DriverError> {
        let exited = self.engine.stop(&container.to_string(), grace).await;
        exited.map(answer::exit).map_err(|error| answer::error(container, error))
    }

    async fn wait(&self, container: ContainerId) -> Result<Exit, DriverError> {
        let exited = self.engine.wait(&container.to_string()).await;
        exited.map(answer::exit).map_err(|error| answer::error(container, error))
    }

    async fn inspect(&self, container: ContainerId) -> Result<Seen, DriverError> {
        let seen = self.engine.inspect(&container.to_string());
        let seen = seen.map_err(|error| answer::error(container, error))?;
        Ok(answer::seen(container, seen))
    }

    async fn recover(&self) -> Result<Vec<Seen>, DriverError> {
        let all = self.engine.list().into_iter();
        // An id that is no UUID was made by hand through the engine: not a workload.
        Ok(all.filter_map(|seen| Some(answer::seen(seen.id.parse().ok()?, seen))).collect())
    }

    async fn endpoint(&self, container: ContainerId) -> Result<Endpoint, DriverError> {
        self.started(container)?
            .endpoint
            .ok_or_else(|| DriverError::Invalid(format!("container {container} has no ingress")))
    }

    async fn remove(&self, container: ContainerId) -> Result<(), DriverError> {
        match self.engine.remove(&container.to_string()).await {
            Ok(()) | Err(EngineError::Unknown(_)) => Ok(()),
            Err(error) => Err(answer::error(container, error)),
        }
    }

    async fn logs(
        &self,
        container: ContainerId,
        query: LogQuery,
    ) -> Result<BoxStream<'static, Result<LogLine, DriverError>>, DriverError> {
        let query = answer::log_query(&query);
        let lines = self.engine.logs(&container.to_string(), query).await;
        let lines = lines.map_err(|error| answer::error(container, error))?;
        Ok(lines
            .map(move |line| match line {
                Ok(line) => Ok(answer::log_line(line)),
                Err(error) => Err(answer::error(container, error)),
            })
            .boxed())
    }

    async fn stats(&self, container: ContainerId) -> Result<Stats, DriverError> {
        let id = container.to_string();
        let stats = self.engine.stats(&id).await.map_err(|error| answer::error(container, error))?;
        let reached = self.engine.reached(&id).await.map_err(|error| answer::error(container, error))?;
        Ok(answer::stats(stats, reached))
    }

    async fn obstacles(&self) -> Vec<String> {
        self.engine.obstacles().await.unwrap_or_else(|error| {
            tracing::warn!(%error, "what stands in the way of containers cannot be told");
            Vec::new()
        })
    }

    async fn exec(&self, container: ContainerId, spec: ExecSpec) -> Result<ExecSession, DriverError> {
        let spec = workload::exec(spec)?;
        let session = self.engine.exec(&container.to_string(), spec).await;
        session.map(answer::exec_session).map_err(|error| answer::error(container, error))
    }
}
