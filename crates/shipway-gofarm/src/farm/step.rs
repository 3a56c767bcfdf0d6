//! One step of a plan: its files, then its commands.

use std::time::Duration;

use shipway_gobuild::plan::Output as Purpose;
use shipway_gobuild::{Command, Phase, Step};
use shipway_stdx::clock::Clock;
use shipway_stdx::shutdown::Shutdown;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{Asked, StepReport, stopped};
use crate::door::{self, Budget, Door, Troubles, Upstream};
use crate::event::{BuildEvent, What};
use crate::failure::{Failure, Outcome, judge};
use crate::output::{Kept, Output};
use crate::sandbox::{Bench, BenchCommand, End, Ended, Line, Running, SandboxError};

/// A build at work.
pub(super) struct Work<'a> {
    pub(super) bench: &'a dyn Bench,
    pub(super) upstream: Upstream,
    pub(super) budget: std::sync::Arc<Budget>,
    pub(super) clock: &'a dyn Clock,
    pub(super) events: mpsc::Sender<BuildEvent>,
    pub(super) stop: Shutdown,
    pub(super) asked: Asked,
}

/// What the commands of a step used, all together.
#[derive(Debug, Clone, Copy, Default)]
struct Used {
    memory_peak_bytes: u64,
    disk_bytes: u64,
}

impl Work<'_> {
    /// Carries out a step and tells of it.
    pub(super) async fn carry_out(&mut self, step: &Step) -> Result<StepReport, Failure> {
        let mut output = Output::new(step.name, self.clock, self.events.clone());
        let begun = Instant::now();
        output.tell(What::Began).await;
        let mut used = Used::default();
        let done = self.do_all(step, begun, &mut used, &mut output).await;
        let Used { memory_peak_bytes, disk_bytes } = used;
        let took = begun.elapsed();
        let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        output.tell(What::Ended { is_success: done.is_ok(), took_ms, memory_peak_bytes, disk_bytes }).await;
        done.map(|()| StepReport { name: step.name, took, memory_peak_bytes, disk_bytes })
    }

    async fn do_all(
        &mut self,
        step: &Step,
        begun: Instant,
        used: &mut Used,
        output: &mut Output<'_>,
    ) -> Result<(), Failure> {
        let trouble = |error: SandboxError| Failure::of_sandbox(Some(step.name), &error);
        for file in &step.files {
            self.bench.write(&file.path, &file.content).await.map_err(trouble)?;
        }
        for command in &step.commands {
            let left = step.deadline.saturating_sub(begun.elapsed());
            let running = self.bench.start(ordered(step, command, left)).await.map_err(trouble)?;
            let (ended, troubles) = self.follow(step, command, running, output).await?;
            used.memory_peak_bytes = used.memory_peak_bytes.max(ended.memory_peak_bytes);
            used.disk_bytes = ended.disk_bytes;
            let tail = output.finish().await;
            if ended.how != End::Exited(0) {
                let (end, troubles) = (ended.how, &troubles);
                return Err(judge(&Outcome { step: step.name, phase: step.phase, end, tail: &tail, troubles }));
            }
        }
        Ok(())
    }

    /// Until a command's end, or until it is to stop.
    async fn follow(
        &mut self,
        step: &Step,
        command: &Command,
        mut running: Running,
        output: &mut Output<'_>,
    ) -> Result<(Ended, Troubles), Failure> {
        let trouble = |error| Failure::of_sandbox(Some(step.name), &SandboxError::Unavailable(error));
        let opened = running.door.take().map(|socket| Door::open(socket, self.upstream.clone(), self.budget.clone()));
        let mut door = opened.transpose().map_err(|error| trouble(format!("the door cannot be opened: {error}")))?;
        let mut kept = Kept::default();
        let mut stop = self.stop.clone();
        loop {
            tokio::select! {
                line = running.lines.recv() => match line {
                    Some(line) => said(command, line, &mut kept, output).await,
                    None => break,
                },
                Some(line) = next_of(&mut door) => output.say_of_proxy(line).await,
                () = stop.requested() => return Err(stopped(Some(step.name))),
            }
        }
        // Its lines have ended, so it has, or is about to.
        let ended = tokio::select! {
            ended = &mut running.ended => ended,
            () = stop.requested() => return Err(stopped(Some(step.name))),
        };
        let ended = ended.map_err(|_| trouble("a command's keeper ended".to_owned()))?;
        let ended = ended.map_err(|error| Failure::of_sandbox(Some(step.name), &error))?;
        if let Some(door) = &mut door {
            while let Ok(line) = door.lines.try_recv() {
                output.say_of_proxy(line).await;
            }
        }
        match command.output {
            Purpose::Log => {}
            Purpose::BuildInfo => self.asked.build_info = kept.into_text(),
            Purpose::Program => self.asked.program.extend(kept.into_text()),
        }
        Ok((ended, door.as_ref().map(Door::troubles).unwrap_or_default()))
    }
}

async fn next_of(door: &mut Option<Door>) -> Option<String> {
    match door {
        Some(door) => door.lines.recv().await,
        None => std::future::pending().await,
    }
}

async fn said(command: &Command, line: Line, kept: &mut Kept, output: &mut Output<'_>) {
    if command.output != Purpose::Log && !line.is_error {
        kept.add(&line);
    }
    if command.output != Purpose::BuildInfo || line.is_error {
        output.say(line).await;
    }
}

fn ordered(step: &Step, command: &Command, deadline: Duration) -> BenchCommand {
    BenchCommand {
        argv: command.argv.clone(),
        env: command.env.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
        directory: command.directory.clone(),
        memory_bytes: step.memory_bytes,
        deadline,
        door: (step.phase == Phase::Download).then_some(door::ADDRESS),
    }
}
