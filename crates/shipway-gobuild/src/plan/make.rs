//! From a settled request to its plan.

use std::collections::BTreeMap;

use super::settings::Settings;
use super::{Command, File, Output, Phase, Plan, Step, StepName, environment, source};
use crate::key::BuildKey;
use crate::recipe::Recipe;
use crate::resolved::Resolved;
use crate::windows;

impl Plan {
    /// Writes down how `resolved` is made in the place that `settings` describes. Pure: the
    /// same input always gives the same plan.
    #[must_use]
    pub fn make(recipe: &Recipe, resolved: &Resolved, settings: &Settings) -> Self {
        let file_name = resolved.platform.file_name(&recipe.name);
        let maker = Maker { recipe, resolved, settings, output: format!("{}/{file_name}", settings.layout.output) };
        let steps = [
            Some(maker.create_environment()),
            Some(maker.initialize_module()),
            Some(maker.pin_versions()),
            maker.windows_resources(),
            Some(maker.tidy_module()),
            Some(maker.compile()),
            Some(maker.verify()),
        ];
        Self {
            key: BuildKey::of(recipe, resolved, &settings.go, settings.sandbox),
            steps: steps.into_iter().flatten().collect(),
            output: maker.output,
            file_name,
        }
    }
}

/// Template of a line of `go list` that prints none.
const NOTHING: &str = "{{\"\"}}";

struct Maker<'a> {
    recipe: &'a Recipe,
    resolved: &'a Resolved,
    settings: &'a Settings,
    output: String,
}

impl Maker<'_> {
    fn create_environment(&self) -> Step {
        let main = self.file("main.go", source::main_go(self.recipe, self.resolved).into_bytes());
        self.download(StepName::CreateEnvironment, vec![main], Vec::new())
    }

    fn initialize_module(&self) -> Step {
        let go_mod = self.file("go.mod", source::go_mod(self.recipe, self.resolved).into_bytes());
        self.download(StepName::InitializeModule, vec![go_mod], Vec::new())
    }

    /// All at once: one after the other, a later one could raise what an earlier one had pinned;
    /// so, two that cannot go together are an error that names both.
    fn pin_versions(&self) -> Step {
        let replaced = |module: &str| {
            self.resolved.replacements.iter().any(|it| it.old_version.is_none() && it.old.as_str() == module)
        };
        let mut wanted = vec![self.resolved.program.to_string()];
        let plugins = self.resolved.plugins.iter().filter(|plugin| !replaced(plugin.module.as_str()));
        wanted.extend(plugins.map(|plugin| format!("{}@{}", plugin.module, plugin.version)));
        wanted.dedup();
        let words: Vec<&str> = ["get", "-v"].into_iter().chain(wanted.iter().map(String::as_str)).collect();
        self.download(StepName::PinVersions, Vec::new(), vec![self.go(&words)])
    }

    fn windows_resources(&self) -> Option<Step> {
        let texts = self.recipe.windows.as_ref().filter(|_| self.resolved.platform.os() == "windows")?;
        let version = &self.resolved.program.version;
        let content = windows::resources(&self.recipe.name, texts, version, &self.resolved.platform)?;
        let name = format!("resources_windows_{}.syso", self.resolved.platform.arch());
        Some(self.download(StepName::WindowsResources, vec![self.file(&name, content)], Vec::new()))
    }

    /// `-e`: a package that only a test somewhere wants may be missing. What the program itself
    /// wants may not, on its own platform and with its tags; the second command finds that out
    /// while there is still somebody to ask for it, and says it in the words of this phase.
    fn tidy_module(&self) -> Step {
        let tags = self.recipe.tags.join(",");
        let mut words = vec!["list", "-mod=readonly", "-deps", "-f", NOTHING];
        if !tags.is_empty() {
            words.extend(["-tags", &tags]);
        }
        words.push(".");
        let mut check = self.go(&words);
        check.env.extend(environment::platform(&self.resolved.platform));
        self.download(StepName::TidyModule, Vec::new(), vec![self.go(&["mod", "tidy", "-e"]), check])
    }

    fn compile(&self) -> Step {
        let (tags, ldflags) = (self.recipe.tags.join(","), self.recipe.ldflags.join(" "));
        let mut words = vec!["build", "-trimpath", "-buildvcs=false", "-o", &self.output];
        if !tags.is_empty() {
            words.extend(["-tags", &tags]);
        }
        if !ldflags.is_empty() {
            words.extend(["-ldflags", &ldflags]);
        }
        words.push(".");
        let env = environment::build(self.settings, &self.recipe.env, &self.resolved.platform);
        let command = self.command(&self.go_path(), &words, env, Output::Log);
        self.build(StepName::Compile, command, self.settings.limits.compile)
    }

    fn verify(&self) -> Step {
        let env = environment::build(self.settings, &self.recipe.env, &self.resolved.platform);
        let read = self.command(&self.go_path(), &["version", "-m", &self.output], env, Output::BuildInfo);
        let mut step = self.build(StepName::Verify, read, self.settings.limits.verify);
        if self.settings.host.as_ref() == Some(&self.resolved.platform) {
            step.commands.extend(self.recipe.verify.iter().map(|words| {
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                self.command(&self.output, &words, environment::program(self.settings), Output::Program)
            }));
        }
        step
    }

    fn go_path(&self) -> String {
        format!("{}/bin/go", self.settings.layout.toolchain)
    }

    /// The go command of the download phase.
    fn go(&self, words: &[&str]) -> Command {
        self.command(&self.go_path(), words, environment::download(self.settings, &self.recipe.env), Output::Log)
    }

    fn command(&self, program: &str, words: &[&str], env: BTreeMap<String, String>, output: Output) -> Command {
        let argv = std::iter::once(program).chain(words.iter().copied()).map(str::to_owned).collect();
        Command { argv, env, directory: self.settings.layout.source.clone(), output }
    }

    fn file(&self, name: &str, content: Vec<u8>) -> File {
        File { path: format!("{}/{name}", self.settings.layout.source), content }
    }

    fn download(&self, name: StepName, files: Vec<File>, commands: Vec<Command>) -> Step {
        let limits = &self.settings.limits;
        Step {
            name,
            phase: Phase::Download,
            files,
            commands,
            deadline: limits.download,
            memory_bytes: limits.memory_bytes,
        }
    }

    fn build(&self, name: StepName, command: Command, deadline: std::time::Duration) -> Step {
        let memory_bytes = self.settings.limits.memory_bytes;
        Step { name, phase: Phase::Build, files: Vec::new(), commands: vec![command], deadline, memory_bytes }
    }
}
