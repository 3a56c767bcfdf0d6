//! What a Windows binary says of itself: a version resource and a manifest, as an object file.
//!
//! The go command links any `*.syso` file beside the sources, so no tool has to be fetched or
//! run: the object (Microsoft's "PE Format", one section `.rsrc`) is written here. Reading
//! order: [`resources`], `version` (the texts), `object` (the tree and the file around it).

mod object;
mod version;

use crate::module::Version;
use crate::platform::Platform;
use crate::recipe::Windows;

/// Types of resources, from winuser.h.
const RT_VERSION: u32 = 16;
const RT_MANIFEST: u32 = 24;

/// No elevation is asked for. Without it Windows guesses from a file's name ("setup", "update").
const MANIFEST: &str = concat!(
    "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>\n",
    "<assembly xmlns=\"urn:schemas-microsoft-com:asm.v1\" manifestVersion=\"1.0\">",
    "<trustInfo xmlns=\"urn:schemas-microsoft-com:asm.v3\"><security><requestedPrivileges>",
    "<requestedExecutionLevel level=\"asInvoker\" uiAccess=\"false\"/>",
    "</requestedPrivileges></security></trustInfo></assembly>\n"
);

/// The object file of a program's resources; `None` for architectures that Windows has not.
pub(crate) fn resources(program: &str, texts: &Windows, version: &Version, platform: &Platform) -> Option<Vec<u8>> {
    let machine = object::Machine::of(platform.arch())?;
    let version = version::information(program, texts, version);
    Some(object::write(&machine, &[(RT_VERSION, version), (RT_MANIFEST, MANIFEST.as_bytes().to_vec())]))
}
