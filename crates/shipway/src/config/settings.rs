//! Every setting there is: one row each.

/// One setting.
#[derive(Debug)]
pub(crate) struct Setting {
    /// As in the file, with dots for nesting.
    pub(crate) key: &'static str,
    /// Variables that set it, strongest first.
    pub(crate) variables: &'static [&'static str],
    /// As text.
    pub(crate) default: &'static str,
    /// For `shipway config check` and the documentation.
    pub(crate) help: &'static str,
}

/// `SHIPWAY_` variables that belong to the command line, not to the server.
pub(crate) const CLIENT_VARIABLES: &[&str] = &["SHIPWAY_URL", "SHIPWAY_TOKEN", "SHIPWAY_CONFIG"];

const fn row(
    key: &'static str,
    variables: &'static [&'static str],
    default: &'static str,
    help: &'static str,
) -> Setting {
    Setting { key, variables, default, help }
}

/// Every setting, in the order in which `config check` prints them.
pub(crate) const SETTINGS: &[Setting] = &[
    row(
        "state_dir",
        &["SHIPWAY_STATE_DIR"],
        "/var/lib/shipway",
        "what must survive: database, content, containers, host images",
    ),
    row(
        "roles",
        &["SHIPWAY_ROLES"],
        "all",
        "what this process does: all, or some of api, worker, janitor, proxy; fewer than all need PostgreSQL",
    ),
    row("run_dir", &["SHIPWAY_RUN_DIR"], "/run/shipway", "sockets; on a file system that a reboot empties"),
    row(
        "database.url",
        &["SHIPWAY_DATABASE_URL", "DATABASE_URL"],
        "",
        "postgres://user:password@host:5432/name; empty: SQLite in `state_dir`",
    ),
    row(
        "database.host",
        &["SHIPWAY_DATABASE_HOST", "DATABASE_HOST"],
        "",
        "the same in pieces: host, or folder of a socket",
    ),
    row("database.port", &["SHIPWAY_DATABASE_PORT"], "5432", "its port"),
    row("database.user", &["SHIPWAY_DATABASE_USER"], "shipway", "user"),
    row("database.password", &["SHIPWAY_DATABASE_PASSWORD"], "", "the user's password, if it has one"),
    row("database.database", &["SHIPWAY_DATABASE_DATABASE"], "shipway", "name of the database"),
    row(
        "database.ssl_mode",
        &["SHIPWAY_DATABASE_SSL_MODE"],
        "prefer",
        "disable, allow, prefer, require, verify-ca or verify-full",
    ),
    row(
        "listen",
        &["SHIPWAY_LISTEN"],
        "127.0.0.1:8080",
        "addresses, comma-separated; `=api`, `=services` or `=both` behind one says what it serves (default: both on loopback, services elsewhere)",
    ),
    row(
        "api.host",
        &["SHIPWAY_API_HOST"],
        "",
        "address that the API listens on, when neither `listen` nor `port` is given (of the Caddy build server's configuration)",
    ),
    row("api.port", &["SHIPWAY_API_PORT"], "", "port that the API listens on, likewise; 0: a free one"),
    row("port", &["SHIPWAY_PORT", "PORT"], "", "port of the default listener, when `listen` is not given"),
    row("host", &["SHIPWAY_HOST", "HOST"], "localhost", "services answer at <id>.<host> and <name>.<host>"),
    row("api.public_host", &["SHIPWAY_API_PUBLIC_HOST", "API_HOST"], "", "host name of the API; empty: api.<host>"),
    row(
        "api.open",
        &["SHIPWAY_API_OPEN"],
        "off",
        "`loopback`: root and the user that started Shipway need no token on this machine",
    ),
    row(
        "api.contracts.url_deploy",
        &["SHIPWAY_API_CONTRACTS_URL_DEPLOY"],
        "true",
        "whether PUT /services/{name} of the older system is served",
    ),
    row(
        "fetch.allow",
        &["SHIPWAY_FETCH_ALLOW"],
        "",
        "addresses that may be fetched from although they are private: address:port or CIDR, comma-separated",
    ),
    row("fetch.limit_bytes", &["SHIPWAY_FETCH_LIMIT_BYTES"], "67108864", "largest content fetched or uploaded"),
    row(
        "network.allow",
        &["SHIPWAY_NETWORK_ALLOW"],
        "",
        "addresses that services with egress may reach although they are private: address:port or CIDR, comma-separated",
    ),
    row(
        "network.pools",
        &["SHIPWAY_NETWORK_POOLS"],
        "",
        "IPv4 prefixes (/8 to /20) for services with egress, comma-separated; empty: one that this host does not use",
    ),
    row(
        "network.resolvers",
        &["SHIPWAY_NETWORK_RESOLVERS"],
        "",
        "whom services' names are asked of: addresses, with a port unless it is 53, comma-separated, 3 at most; empty: those of /etc/resolv.conf",
    ),
    row(
        "network.accept_rule",
        &["SHIPWAY_NETWORK_ACCEPT_RULE"],
        "false",
        "whether one tagged rule may be added where another firewall of this host would drop their packets",
    ),
    row("worker.concurrency", &["SHIPWAY_WORKER_CONCURRENCY"], "8", "tasks at work at once"),
    row(
        "worker.lease_seconds",
        &["SHIPWAY_WORKER_LEASE_SECONDS"],
        "20",
        "a task whose worker is not heard of for so long is given to another",
    ),
    row(
        "worker.deadline_seconds",
        &["SHIPWAY_WORKER_DEADLINE_SECONDS"],
        "900",
        "a task that takes longer is given back, whatever its worker says",
    ),
    row(
        "worker.project_max",
        &["SHIPWAY_WORKER_PROJECT_MAX"],
        "0",
        "tasks of one project at work at once; 0: no limit",
    ),
    row("janitor.every_seconds", &["SHIPWAY_JANITOR_EVERY_SECONDS"], "600", "how often what is old is looked for"),
    row(
        "janitor.releases_keep",
        &["SHIPWAY_JANITOR_RELEASES_KEEP"],
        "10",
        "releases of a service to go back to, beside the live one; those of the last day stay in any case",
    ),
    row(
        "janitor.tasks_days",
        &["SHIPWAY_JANITOR_TASKS_DAYS"],
        "7",
        "ended tasks and their histories are kept so long, 100000 at most",
    ),
    row(
        "janitor.events_days",
        &["SHIPWAY_JANITOR_EVENTS_DAYS"],
        "30",
        "what happened to a service is kept so long after it was deleted",
    ),
    row(
        "janitor.builds_days",
        &["SHIPWAY_JANITOR_BUILDS_DAYS"],
        "30",
        "ended builds and what they made are kept so long",
    ),
    row("janitor.builds_keep", &["SHIPWAY_JANITOR_BUILDS_KEEP"], "10000", "and no more than so many of them"),
    row(
        "janitor.unused_hours",
        &["SHIPWAY_JANITOR_UNUSED_HOURS"],
        "24",
        "content and images that nothing needs stay on disk so long",
    ),
    row(
        "janitor.unused_bytes",
        &["SHIPWAY_JANITOR_UNUSED_BYTES"],
        "1073741824",
        "and no more than so many bytes of each; what came within the last hour stays in any case",
    ),
    row(
        "worker.labels",
        &["SHIPWAY_WORKER_LABELS"],
        "",
        "what this worker offers, comma-separated; a task that needs a label goes only where it is",
    ),
    row(
        "worker.stop_timeout",
        &["SHIPWAY_WORKER_STOP_TIMEOUT"],
        "60",
        "seconds for tasks to end once this process is told to stop; what is left is given back, a second signal gives back at once",
    ),
    row(
        "worker.listen",
        &["SHIPWAY_WORKER_LISTEN"],
        "127.0.0.1:0",
        "where api processes ask this worker for logs, exec and stats (TLS, trusted by the database); not opened with SQLite",
    ),
    row(
        "worker.address",
        &["SHIPWAY_WORKER_ADDRESS"],
        "",
        "the same as other machines reach it, address:port; empty: what `worker.listen` says",
    ),
    row(
        "worker.preemption.enabled",
        &["SHIPWAY_WORKER_PREEMPTION_ENABLED"],
        "false",
        "whether to give all tasks back when this machine is about to be taken away",
    ),
    row(
        "worker.preemption.provider",
        &["SHIPWAY_WORKER_PREEMPTION_PROVIDER"],
        "signal",
        "who says so: signal (SIGUSR1), azure, aws or gcp",
    ),
    row(
        "worker.preemption.poll_interval",
        &["SHIPWAY_WORKER_PREEMPTION_POLL_INTERVAL"],
        "5",
        "seconds between two questions to the cloud",
    ),
    row(
        "worker.preemption.address",
        &["SHIPWAY_WORKER_PREEMPTION_ADDRESS"],
        "",
        "where the cloud is asked, http://host:port; empty: where its own machines ask",
    ),
    row(
        "builds.enabled",
        &["SHIPWAY_BUILDS_ENABLED"],
        "auto",
        "whether builds of Go programs are accepted and made: true, false, or auto: where there is a Go",
    ),
    row("builds.go", &["SHIPWAY_BUILDS_GO"], "", "directory of the Go tool chain; empty: the newest on this machine"),
    row(
        "api.go_proxy",
        &["SHIPWAY_API_GO_PROXY", "GOPROXY"],
        "",
        "module proxies in order, as GOPROXY has them (http, https, file); empty: as the go command is set; never `direct`",
    ),
    row(
        "builds.checksum_database",
        &["SHIPWAY_BUILDS_CHECKSUM_DATABASE"],
        "",
        "GOSUMDB of builds; empty: as the go command is set",
    ),
    row(
        "builds.checksum_exempt",
        &["SHIPWAY_BUILDS_CHECKSUM_EXEMPT"],
        "",
        "GONOSUMDB of builds: patterns of modules that need not be in that database, comma-separated",
    ),
    row(
        "builds.packages",
        &["SHIPWAY_BUILDS_PACKAGES"],
        "",
        "packages that /api/packages tells of although nobody has built them, package[@version], comma-separated",
    ),
    row(
        "builds.warm",
        &["SHIPWAY_BUILDS_WARM"],
        "",
        "programs whose modules and packages are kept compiled, as caddy@latest,k6@v1.8.1; empty: whatever was built last \
         without",
    ),
    row("builds.plugins_max", &["SHIPWAY_BUILDS_PLUGINS_MAX"], "100", "plugins of one build at most"),
    row("builds.limit_seconds", &["SHIPWAY_BUILDS_LIMIT_SECONDS"], "3600", "longest a build may take in all"),
    row(
        "builds.disk_bytes",
        &["SHIPWAY_BUILDS_DISK_BYTES"],
        "8589934592",
        "what one build may write; the room is taken as it is used",
    ),
    row(
        "worker.build_env",
        &["SHIPWAY_WORKER_BUILD_ENV"],
        "",
        "variables for the go command of builds, as a mapping in the file or as NAME=value words; part of each build's key",
    ),
    row(
        "worker.build_path",
        &["SHIPWAY_WORKER_BUILD_PATH"],
        "",
        "where disks and caches of builds are; empty: `builds` in `state_dir`",
    ),
    row(
        "worker.docker_image",
        &["SHIPWAY_WORKER_DOCKER_IMAGE"],
        "",
        "not used: builds are made on the host's packages with the Go of `builds.go`",
    ),
    row("worker.docker_host", &["SHIPWAY_WORKER_DOCKER_HOST"], "", "not used: builds are made in a sandbox of our own"),
    row("worker.max_jobs", &["SHIPWAY_WORKER_MAX_JOBS"], "2", "builds at work at once"),
    row("worker.docker_memory_mb", &["SHIPWAY_WORKER_DOCKER_MEMORY_MB"], "2048", "memory of a step of a build, MiB"),
    row("worker.docker_cpus", &["SHIPWAY_WORKER_DOCKER_CPUS"], "", "processors of a build, as 2.0; empty: all"),
    row("worker.docker_pids_limit", &["SHIPWAY_WORKER_DOCKER_PIDS_LIMIT"], "1024", "processes and threads of a build"),
    row(
        "worker.signing.enabled",
        &["SHIPWAY_WORKER_SIGNING_ENABLED"],
        "false",
        "whether artifacts have an OpenPGP signature too; a minisign one they always have",
    ),
    row("worker.signing.key_file", &["SHIPWAY_WORKER_SIGNING_KEY_FILE"], "", "the secret key it is made with"),
    row(
        "worker.signing.key_password",
        &["SHIPWAY_WORKER_SIGNING_KEY_PASSWORD", "SIGNING_KEY_PASSWORD"],
        "",
        "its password, if it has one",
    ),
    row("storage.type", &["SHIPWAY_STORAGE_TYPE"], "local", "where artifacts are kept: local or s3"),
    row("storage.local.path", &["SHIPWAY_STORAGE_LOCAL_PATH"], "", "the directory; empty: `artifacts` in `state_dir`"),
    row("storage.s3.bucket", &["SHIPWAY_STORAGE_S3_BUCKET"], "", "the bucket"),
    row("storage.s3.region", &["SHIPWAY_STORAGE_S3_REGION"], "us-east-1", "its region"),
    row("storage.s3.endpoint", &["SHIPWAY_STORAGE_S3_ENDPOINT"], "", "URL of a server other than Amazon's"),
    row("storage.s3.access_key", &["SHIPWAY_STORAGE_S3_ACCESS_KEY"], "", "the key's name"),
    row("storage.s3.secret_key", &["SHIPWAY_STORAGE_S3_SECRET_KEY"], "", "the key"),
    row(
        "api.contracts.caddy_build",
        &["SHIPWAY_API_CONTRACTS_CADDY_BUILD"],
        "true",
        "whether the Caddy build server's own endpoints (`/api/…`) answer",
    ),
    row(
        "proxy.user",
        &["SHIPWAY_PROXY_USER"],
        "auto",
        "user of the proxy's process: a name, a number, or auto (a number nobody has)",
    ),
    row("proxy.connections_max", &["SHIPWAY_PROXY_CONNECTIONS_MAX"], "8192", "open connections in total"),
    row(
        "proxy.connections_per_address_max",
        &["SHIPWAY_PROXY_CONNECTIONS_PER_ADDRESS_MAX"],
        "1024",
        "open connections of one address",
    ),
    row(
        "status.listen",
        &["SHIPWAY_STATUS_LISTEN"],
        "",
        "where a process answers /livez, /readyz and /metrics to anybody, for those without the api; empty: nowhere",
    ),
    row("log.format", &["SHIPWAY_LOG_FORMAT"], "auto", "human, json, or auto (human on a terminal)"),
    row("log.level", &["SHIPWAY_LOG_LEVEL", "RUST_LOG"], "info", "as in `info,shipway_proxy=debug`"),
];
