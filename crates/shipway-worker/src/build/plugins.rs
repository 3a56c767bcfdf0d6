//! Whether what was linked in is a plugin at all.
//!
//! A module that has nothing to do with the program compiles into it and changes nothing: whoever
//! asked for it named the wrong one, and is better told than served.

use shipway_gobuild::module::{ModulePath, Version};
use shipway_gobuild::resolved::SettledPlugin;
use shipway_gobuild::{Spec, scan};
use shipway_model::{Failure, FailureCode};

use super::Farming;
use crate::trouble::{Trouble, failure};

/// Fails for a plugin whose module imports nothing of the program.
pub(super) async fn check(farming: &Farming, spec: &Spec) -> Result<(), Trouble> {
    let program = &spec.resolved.program.module;
    for plugin in &spec.resolved.plugins {
        let (module, version) = source(spec, plugin);
        match scan::imports(&farming.proxies, module, version, program, &farming.folder).await {
            Ok(true) => {}
            Ok(false) => return Err(no_plugin(spec, plugin)),
            // It was built: what cannot be looked through is not held against it.
            Err(error) => tracing::warn!(%module, %version, %error, "a plugin was not looked through"),
        }
    }
    Ok(())
}

/// Where its source is from.
fn source<'a>(spec: &'a Spec, plugin: &'a SettledPlugin) -> (&'a ModulePath, &'a Version) {
    let is_it = |version: &Option<Version>| version.as_ref().is_none_or(|version| *version == plugin.version);
    let mut all = spec.resolved.replacements.iter();
    let by = all.find(|it| it.old == plugin.module && is_it(&it.old_version));
    by.map_or((&plugin.module, &plugin.version), |it| (&it.new, &it.version))
}

fn no_plugin(spec: &Spec, plugin: &SettledPlugin) -> Trouble {
    let (package, program) = (&plugin.package, &spec.resolved.program.module);
    let detail = format!(
        "{package} is no plugin of {}: nothing in {}@{} imports {program}",
        spec.recipe.name, plugin.module, plugin.version
    );
    let hint = Some("look for the import path in the plugin's own documentation".to_owned());
    Trouble::Failed(Box::new(Failure { hint, ..failure(FailureCode::BuildUnusable, detail) }))
}
