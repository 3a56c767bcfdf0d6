//! The generated program: its `main.go` and its `go.mod`.
//!
//! Every word of both comes out of a checked type or a checked recipe, none of which can hold a
//! quote, a newline or a space; [`quoted`] refuses them once more, where they would matter.

use std::fmt::Write as _;

use crate::goversion::GoVersion;
use crate::recipe::Recipe;
use crate::resolved::Resolved;

/// The language of a program whose modules name none: the first whose line the go command keeps
/// to, and old enough for every tool chain that can build such modules.
const GO_MIN: &str = "1.21";

/// `main.go`: the program's own packages, its plugins for their effect, one call.
pub(super) fn main_go(recipe: &Recipe, resolved: &Resolved) -> String {
    let module = &resolved.program.module;
    let command = Recipe::package(module, &recipe.command.package);
    let mut text = format!("package main\n\nimport (\n\t{} {}\n\n", recipe.command.alias, quoted(&command));
    let standard = recipe.standard.iter().map(|relative| Recipe::package(module, relative));
    let plugins = resolved.plugins.iter().map(|plugin| plugin.package.to_string());
    for package in standard.chain(plugins).chain(recipe.extra.iter().cloned()) {
        line(&mut text, &format!("\t_ {}", quoted(&package)));
    }
    let (alias, function) = (&recipe.command.alias, &recipe.command.function);
    line(&mut text, &format!(")\n\nfunc main() {{\n\t{alias}.{function}()\n}}"));
    text
}

/// `go.mod` before anything is required: name, language, replacements.
pub(super) fn go_mod(recipe: &Recipe, resolved: &Resolved) -> String {
    let wanted = GoVersion::parse(&resolved.go);
    let least = GoVersion::parse(GO_MIN).expect("a constant");
    let go = wanted.into_iter().chain([least]).max().expect("there is one");
    let mut text = format!("module {}\n\ngo {go}\n", recipe.name);
    for it in &resolved.replacements {
        let old_version = it.old_version.as_ref().map(|version| format!(" {version}")).unwrap_or_default();
        line(&mut text, &format!("\nreplace {}{old_version} => {} {}", it.old, it.new, it.version));
    }
    text
}

fn line(text: &mut String, line: &str) {
    writeln!(text, "{line}").expect("memory can be written to");
}

/// A Go string of a path.
fn quoted(path: &str) -> String {
    let sound = path.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"\\`".contains(&byte));
    assert!(sound, "paths are checked when they are made");
    format!("\"{path}\"")
}
