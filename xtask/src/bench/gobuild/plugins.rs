//! Plugins that nobody has built yet: a folder that is a module proxy, and a version of one
//! module for each that is wanted.

use std::cell::Cell;

use shipway_gobuild::testing::ModuleProxy;

use super::{MODULE, VERSION};

/// Where they are, as a module.
pub(super) const PLUGIN: &str = "example.com/plugin";

/// The proxy, and how many plugins there are.
pub(super) struct Plugins {
    proxy: ModuleProxy,
    made: Cell<usize>,
}

impl Plugins {
    pub(super) fn new() -> Self {
        Self { proxy: ModuleProxy::new(), made: Cell::new(0) }
    }

    pub(super) fn url(&self) -> String {
        self.proxy.url()
    }

    /// Makes another one, and says how it is asked for: `module@version`.
    pub(super) fn next(&self) -> String {
        self.made.set(self.made.get() + 1);
        let number = self.made.get();
        let source = format!(
            "package plugin\n\nimport \"{MODULE}\"\n\nfunc init() {{ caddy.RegisterModule(Small{{}}) }}\n\n\
             // Small is a module that does nothing.\ntype Small struct{{}}\n\n\
             // CaddyModule tells what it is.\nfunc (Small) CaddyModule() caddy.ModuleInfo {{\n\t\
             return caddy.ModuleInfo{{ID: \"small{number}\", New: func() caddy.Module {{ return new(Small) }}}}\n}}\n"
        );
        let module = format!("module {PLUGIN}\n\ngo 1.25\n\nrequire {MODULE} {VERSION}\n");
        let version = format!("v1.0.{number}");
        self.proxy.add(PLUGIN, &version, &[("go.mod", &module), ("plugin.go", &source)]);
        format!("{PLUGIN}@{version}")
    }
}
