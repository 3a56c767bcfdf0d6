//! `shipway image`, as it stands on the command line.

use std::path::PathBuf;

use clap::Subcommand;

/// `shipway image …`.
#[derive(Debug, Subcommand)]
pub enum ImageCommand {
    /// Make an image of an archive or a directory
    #[command(after_help = "\
The archive is a root file system as tar, plain, in gzip or in Zstandard. Devices in dev/, set-id bits and extended
attributes are left out; one that breaks a rule (paths that lead out, sparse files, sizes past the limits) is refused
whole, by the rule's name.

Examples:
  shipway image import app rootfs.tar.gz
  shipway image import team/app:1.2 ./rootfs
  docker export box | shipway image import box -")]
    Import {
        /// Name of the image, with :tag or without
        #[arg(value_name = "NAME")]
        name: String,
        /// Archive, directory, or - for an archive on standard input
        #[arg(value_name = "FILE|DIR")]
        from: PathBuf,
    },
    /// Have the server make an image of a distribution's packages
    ///
    /// The server needs mmdebstrap (apt-get install mmdebstrap); the packages come from
    /// the mirror that its own come from.
    Bootstrap {
        /// What to make, as debian:bookworm-slim or debian:trixie
        #[arg(value_name = "DISTRIBUTION")]
        from: String,
        /// Name of the image [default: the distribution's]
        #[arg(short, long, value_name = "NAME")]
        name: Option<String>,
    },
    /// List images
    #[command(visible_alias = "list")]
    Ls,
    /// Remove images that no service needs
    Rm {
        /// Names of the images
        #[arg(value_name = "NAME", required = true)]
        names: Vec<String>,
    },
    /// Print everything about an image, as JSON
    Inspect {
        /// Name of the image
        #[arg(value_name = "NAME")]
        name: String,
    },
}
