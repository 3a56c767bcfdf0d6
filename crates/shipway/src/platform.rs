//! Where everything of a platform lies, and how its engine is opened: the same
//! for `serve`, which runs it, and `down`, which ends it.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use shipway_driver_embedded::{BenchConfig, EmbeddedConfig, EmbeddedDriver};
use shipway_engine::EngineConfig;
use shipway_engine::host_image::HostImageConfig;
use shipway_proxy::wire::is_own_socket;

use crate::config::Config;
use crate::proxy_user::{self, Ids};
use crate::state_dir::StateDir;

/// In the run directory: the API, for root.
pub(crate) const ADMIN_SOCKET: &str = "api.sock";
/// In the run directory: the addresses that are listened on, for programs.
pub(crate) const LISTENERS_FILE: &str = "listeners.json";
/// In the run directory: what the proxy may write.
const ROUTES_FOLDER: &str = "routes";

/// The directories of a platform.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    pub(crate) run_dir: PathBuf,
    /// Names this installation to its proxy.
    pub(crate) instance: String,
    pub(crate) proxy: Ids,
}

impl Places {
    /// Makes the run directory and finds out who the proxy is.
    pub(crate) fn open(config: &Config, state: &StateDir) -> anyhow::Result<Self> {
        let instance = instance(&state.join("instance"))?;
        let proxy = proxy_user::resolve(&config.proxy_user, &instance)?;
        let run_dir = config.run_dir.clone();
        let made = DirBuilder::new().recursive(true).mode(0o711).create(&run_dir);
        made.with_context(|| format!("cannot make the run directory {}", run_dir.display()))?;
        fs::set_permissions(&run_dir, Permissions::from_mode(0o711))?;
        Ok(Self { run_dir, instance, proxy })
    }

    /// The control sockets of every proxy, living or dead, by the names that are theirs alone.
    pub(crate) fn proxy_sockets(&self) -> io::Result<Vec<PathBuf>> {
        let entries = fs::read_dir(&self.run_dir)?.collect::<io::Result<Vec<_>>>()?;
        let ours = entries.into_iter().filter(|entry| entry.file_name().to_str().is_some_and(is_own_socket));
        Ok(ours.map(|entry| entry.path()).collect())
    }

    /// A directory that the proxy may write, for its last good routes.
    pub(crate) fn routes_folder(&self) -> io::Result<PathBuf> {
        let path = self.run_dir.join(ROUTES_FOLDER);
        DirBuilder::new().recursive(true).mode(0o700).create(&path)?;
        std::os::unix::fs::chown(&path, Some(self.proxy.uid), Some(self.proxy.gid))?;
        Ok(path)
    }
}

/// The name of this machine, as it has it itself.
pub(crate) fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// The name of this installation: random, made once.
fn instance(path: &Path) -> anyhow::Result<String> {
    use shipway_stdx::fs::{Durability, write_atomic};
    match fs::read_to_string(path) {
        Ok(text) if !text.trim().is_empty() => Ok(text.trim().to_owned()),
        _ => {
            let name = uuid::Uuid::new_v4().simple().to_string();
            write_atomic(path, format!("{name}\n").as_bytes(), 0o644, Durability::Power)?;
            Ok(name)
        }
    }
}

/// Where builds are carried out, in the state directory.
pub(crate) const BENCHES: &str = "builds/benches";

/// Takes possession of the engine root.
pub(crate) async fn open_driver(
    config: &Config,
    state: &StateDir,
    places: &Places,
    benches: Option<BenchConfig>,
) -> anyhow::Result<EmbeddedDriver> {
    let engine = EngineConfig {
        outside: config.outside.clone(),
        ..EngineConfig::new(state.join("engine"), &places.run_dir, places.proxy.uid)
    };
    let config = EmbeddedConfig {
        engine,
        images: state.join("host-images"),
        host_image: HostImageConfig::default(),
        layers: state.join("layers"),
        content: state.join("blobs"),
        benches,
    };
    Ok(EmbeddedDriver::open(config).await?)
}
