//! `shipway tasks` and `shipway workers`, as they stand on the command line.

use clap::{Args, Subcommand, ValueEnum};

/// `shipway tasks`.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
A task is one change of a service on its way: a deploy, a restart, a repair. Tasks of one
service are done one after the other, in the order they were asked for. One that was tried
as often as it may be is given up, and kept until somebody has looked.

Examples:
  shipway tasks
  shipway tasks --state queued --watch
  shipway tasks --service hello --kind deploy
  shipway tasks show 0b0e6c1e-6a59-4b5c-9f0a-6d2f6a0b6f0d
  shipway tasks requeue --all"
)]
pub struct TaskArgs {
    /// What to do instead of listing.
    #[command(subcommand)]
    pub command: Option<TaskCommand>,
    /// Only tasks that have come so far
    #[arg(long, value_name = "STATE")]
    pub state: Option<TaskStateArg>,
    /// Only tasks of this service: its name or id; a deleted one by its id
    #[arg(long, value_name = "NAME")]
    pub service: Option<String>,
    /// Only tasks that do this: deploy, rollback, start, stop, restart, delete or repair
    #[arg(long, value_name = "KIND")]
    pub kind: Option<String>,
    /// Only tasks that this worker had last
    #[arg(long, value_name = "ID")]
    pub worker: Option<String>,
    /// Only the newest
    #[arg(short = 'n', long, value_name = "NUMBER", default_value_t = 50,
          value_parser = clap::value_parser!(u32).range(1..=500))]
    pub limit: u32,
    /// Go on and show every change, until interrupted
    #[arg(short, long)]
    pub watch: bool,
}

/// What else can be done with tasks.
#[derive(Debug, Subcommand)]
pub enum TaskCommand {
    /// Print everything about a task: what it waits for, and all that happened to it
    Show {
        /// Id of the task
        #[arg(value_name = "ID")]
        id: String,
    },
    /// Have tasks done anew that were given up
    Requeue {
        /// Ids of the tasks
        #[arg(value_name = "ID", required_unless_present = "all")]
        ids: Vec<String>,
        /// Every task that was given up
        #[arg(long, conflicts_with = "ids")]
        all: bool,
    },
}

/// How far a task has come, as typed.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum TaskStateArg {
    /// Waits for a worker, or for its time.
    Queued,
    /// A worker is at it.
    Running,
    /// Ended as asked.
    Done,
    /// Ended with a failure that was the user's to hear.
    Failed,
    /// Tried as often as it may be.
    #[value(name = "given_up", alias = "given-up")]
    GivenUp,
}

/// `shipway workers`.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
A service lives where its containers are: only the worker with that engine changes it. All
other work goes to any worker that takes tasks.

Examples:
  shipway workers
  shipway workers cordon host-2
  shipway workers drain host-2"
)]
pub struct WorkerArgs {
    /// What to do instead of listing.
    #[command(subcommand)]
    pub command: Option<WorkerCommand>,
}

/// What can be done with workers.
#[derive(Debug, Subcommand)]
pub enum WorkerCommand {
    /// Give workers no more tasks; what they have they finish, what they run goes on
    Cordon {
        /// Ids of the workers
        #[arg(value_name = "ID", required = true)]
        ids: Vec<String>,
    },
    /// Give workers tasks again
    Uncordon {
        /// Ids of the workers
        #[arg(value_name = "ID", required = true)]
        ids: Vec<String>,
    },
    /// Have workers finish or give back what they have, and end; what they run goes on
    Drain {
        /// Ids of the workers
        #[arg(value_name = "ID", required = true)]
        ids: Vec<String>,
    },
}
