//! Host images, made of small hosts that the tests invent and of the one they run on.
//!
//! Root is assumed: owners and capabilities are part of what is tested.

#![expect(
    clippy::disallowed_methods,
    reason = "a test's files need not survive a crash, and some must keep their inode"
)]

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

mod child;
mod fake_host;
mod real_host;

use fake_host::FakeHost;

/// Makes the image of `host` and returns it with whoever made it.
async fn image_of(host: &FakeHost, wanted: &[Wanted]) -> (HostImages, HostImage) {
    let images = HostImages::open(&host.images_dir(), host.config(wanted)).unwrap();
    let image = images.current().await.unwrap();
    (images, image)
}

fn read(image: &HostImage, path: &str) -> Option<String> {
    std::fs::read_to_string(image.path.join(path)).ok()
}

fn link(image: &HostImage, path: &str) -> Option<String> {
    let target = std::fs::read_link(image.path.join(path)).ok()?;
    Some(target.to_string_lossy().into_owned())
}

#[tokio::test]
async fn an_image_is_touched_when_it_is_given_out_and_removed_when_it_is_not() {
    let host = FakeHost::new();
    host.install("shell", "", &["/usr/bin/shell"]);
    let (images, image) = image_of(&host, &[Wanted::optional("shell")]).await;
    assert_eq!(images.last_current().as_ref(), Some(&image.digest));
    assert!(images.bytes(&image.digest) > 0);
    let home = host.images_dir().join("sha256").join(image.digest.hex());
    let age = || {
        let then = SystemTime::now() - std::time::Duration::from_secs(7200);
        std::fs::File::open(&home).unwrap().set_modified(then).unwrap();
        then + std::time::Duration::from_secs(60)
    };
    let long_ago = age();
    assert_eq!(images.current().await.unwrap(), image);
    assert!(images.touched_at(&image.digest).unwrap() > long_ago);
    assert!(!images.remove_untouched(&image.digest, long_ago).await.unwrap(), "a deploy is about to need it");
    let long_ago = age();
    assert!(images.remove_untouched(&image.digest, long_ago).await.unwrap());
    assert!(images.list().unwrap().is_empty() && images.touched_at(&image.digest).is_err());
    assert_eq!(images.current().await.unwrap().digest, image.digest, "it is made anew");
}

#[tokio::test]
async fn packages_bring_what_they_depend_on() {
    let host = FakeHost::new();
    host.install(
        "shell",
        "Pre-Depends: libc (>= 2)\nDepends: absent | editor, mail-agent, nothing-at-all",
        &["/usr/bin/shell"],
    );
    host.install("libc", "", &["/usr/lib/libc.so"]);
    host.install("editor", "Depends: shell", &["/usr/bin/editor"]);
    host.install("postman", "Provides: mail-agent (= 1), other", &["/usr/bin/postman"]);
    host.install("stranger", "", &["/usr/bin/stranger"]);
    let (images, image) = image_of(&host, &[Wanted::required("shell")]).await;
    let contents = images.contents(&image.digest).unwrap();
    let names: Vec<&str> = contents.packages.keys().map(String::as_str).collect();
    assert_eq!(names, ["editor", "libc", "postman", "shell"]);
    assert_eq!(read(&image, "usr/bin/postman").unwrap(), "postman /usr/bin/postman");
    assert_eq!(read(&image, "usr/bin/stranger"), None);
}

#[tokio::test]
async fn an_optional_package_may_be_missing_and_a_required_one_may_not() {
    let host = FakeHost::new();
    host.install("shell", "", &["/usr/bin/shell"]);
    let wanted = [Wanted::required("shell"), Wanted::optional("node | deno")];
    let (images, image) = image_of(&host, &wanted).await;
    assert_eq!(images.contents(&image.digest).unwrap().absent, ["node | deno"]);

    let config = host.config(&[Wanted::required("python3")]);
    let images = HostImages::open(&host.images_dir(), config).unwrap();
    let error = images.current().await.unwrap_err();
    assert_eq!(error.to_string(), "the package python3 is not installed");
    assert_eq!(error.remedy(), "apt-get install -y python3");
}

#[tokio::test]
async fn a_host_without_debians_database_is_told_so() {
    let host = FakeHost::new();
    std::fs::remove_file(host.path("var/lib/dpkg/status")).unwrap();
    let images = HostImages::open(&host.images_dir(), host.config(&[])).unwrap();
    let error = images.current().await.unwrap_err();
    assert!(matches!(error, HostImageError::NotDebian(_)), "{error:?}");
}

#[tokio::test]
async fn a_package_that_dpkg_left_half_done_is_named() {
    let host = FakeHost::new();
    host.install_as("shell", "install ok half-configured", "", &["/usr/bin/shell"]);
    let config = host.config(&[Wanted::required("shell")]);
    let images = HostImages::open(&host.images_dir(), config).unwrap();
    let error = images.current().await.unwrap_err();
    assert_eq!(error.to_string(), "the package shell is half-configured");
}

#[tokio::test]
async fn a_diverted_file_goes_where_it_would_be_with_just_these_packages() {
    let host = FakeHost::new();
    host.install("client", "", &["/usr/bin/config"]);
    host.install("server", "", &[]);
    host.divert("/usr/bin/config", "/usr/bin/config.client", "server");
    host.write("usr/bin/config", "the server's");

    let (_, without) = image_of(&host, &[Wanted::required("client")]).await;
    assert_eq!(read(&without, "usr/bin/config").unwrap(), "client /usr/bin/config");
    assert_eq!(read(&without, "usr/bin/config.client"), None);

    host.own("server", "/usr/bin/config");
    let both = [Wanted::required("client"), Wanted::required("server")];
    let (_, with) = image_of(&host, &both).await;
    assert_eq!(read(&with, "usr/bin/config").unwrap(), "the server's");
    assert_eq!(read(&with, "usr/bin/config.client").unwrap(), "client /usr/bin/config");
}

#[tokio::test]
async fn an_alternative_is_the_hosts_choice_or_the_best_that_came_along() {
    let host = FakeHost::new();
    host.install("gawk", "", &["/usr/bin/gawk"]);
    host.install("mawk", "", &["/usr/bin/mawk"]);
    host.install("busy", "", &["/usr/bin/busy"]);
    host.write(
        "var/lib/dpkg/alternatives/awk",
        "manual\n/usr/bin/awk\nawk.1\n/usr/share/man/man1/awk.1\nnawk\n/usr/bin/nawk\n\n\
         /usr/bin/busy\n1\n\n\n/usr/bin/gawk\n10\n/x\n/usr/bin/gawk\n/usr/bin/mawk\n5\n/x\n/usr/bin/mawk\n\n",
    );
    host.link("etc/alternatives/awk", "/usr/bin/mawk");

    let (_, all) = image_of(&host, &["gawk", "mawk", "busy"].map(Wanted::required)).await;
    assert_eq!(link(&all, "usr/bin/awk").unwrap(), "/etc/alternatives/awk");
    assert_eq!(link(&all, "etc/alternatives/awk").unwrap(), "/usr/bin/mawk");
    assert_eq!(link(&all, "etc/alternatives/nawk").unwrap(), "/usr/bin/mawk");
    assert_eq!(link(&all, "etc/alternatives/awk.1"), None, "manuals stay away");

    let (_, some) = image_of(&host, &["busy", "gawk"].map(Wanted::required)).await;
    assert_eq!(link(&some, "etc/alternatives/awk").unwrap(), "/usr/bin/gawk");

    let (_, one) = image_of(&host, &[Wanted::required("busy")]).await;
    assert_eq!(link(&one, "etc/alternatives/awk").unwrap(), "/usr/bin/busy");
    assert_eq!(link(&one, "usr/bin/nawk"), None, "busy has no nawk");
}

#[tokio::test]
async fn merged_directories_are_followed_and_made() {
    let host = FakeHost::new();
    host.link("lib", "usr/lib");
    host.install("libc", "", &["/lib/deep/libc.so"]);
    let (_, image) = image_of(&host, &[Wanted::required("libc")]).await;
    assert_eq!(link(&image, "lib").unwrap(), "usr/lib");
    let file = std::fs::symlink_metadata(image.path.join("usr/lib/deep/libc.so")).unwrap();
    assert!(file.is_file());
}

#[tokio::test]
async fn a_directory_that_the_administrator_moved_is_followed_and_made() {
    let host = FakeHost::new();
    host.install("node", "", &[]);
    host.link("usr/lib/modules", "/usr/big/../big");
    host.own("node", "/usr/lib/modules/npm");
    host.write("usr/big/npm", "node /usr/lib/modules/npm");
    let (_, image) = image_of(&host, &[Wanted::required("node")]).await;
    assert_eq!(link(&image, "usr/lib/modules").unwrap(), "/usr/big/../big");
    assert_eq!(read(&image, "usr/big/npm").unwrap(), "node /usr/lib/modules/npm");
}

#[tokio::test]
async fn a_host_with_separate_directories_stays_so() {
    let host = FakeHost::new();
    host.install("libc", "", &["/lib/libc.so"]);
    let (_, image) = image_of(&host, &[Wanted::required("libc")]).await;
    assert!(std::fs::symlink_metadata(image.path.join("lib")).unwrap().is_dir());
    assert_eq!(read(&image, "lib/libc.so").unwrap(), "libc /lib/libc.so");
}

#[tokio::test]
async fn what_grants_or_hides_something_is_left_out_and_counted() {
    let host = FakeHost::new();
    let paths = [
        "/usr/bin/plain",
        "/usr/bin/su",
        "/usr/bin/ping",
        "/usr/bin/secret",
        "/usr/lib/closed/file",
        "/usr/local/bin/own",
        "/usr/share/doc/readme",
        "/usr/bin/gone",
        "/usr/bin/pipe",
        "/etc/shadow",
        "/etc/mime.types",
    ];
    host.install("tools", "", &paths);
    host.mode("usr/bin/su", 0o4755);
    host.mode("usr/bin/secret", 0o750);
    host.mode("usr/lib/closed", 0o700);
    host.capable("usr/bin/ping");
    host.remove("usr/bin/gone");
    host.pipe("usr/bin/pipe");
    let (images, image) = image_of(&host, &[Wanted::required("tools")]).await;
    for path in ["usr/bin/plain", "etc/mime.types"] {
        assert!(read(&image, path).is_some(), "{path}");
    }
    for path in &paths[1..10] {
        let path = path.trim_start_matches('/');
        assert!(std::fs::symlink_metadata(image.path.join(path)).is_err(), "{path}");
    }
    let left_out = images.contents(&image.digest).unwrap().left_out;
    for (why, count) in [
        (LeftOut::SetId, 1),
        (LeftOut::Capability, 1),
        (LeftOut::Special, 1),
        (LeftOut::Absent, 1),
        (LeftOut::HostState, 1),
    ] {
        assert_eq!(left_out.get(&why), Some(&count), "{why:?} in {left_out:?}");
    }
    // The file, the directory and what is in it.
    assert_eq!(left_out.get(&LeftOut::NotWorldReadable), Some(&3), "{left_out:?}");
}

#[tokio::test]
async fn the_skeleton_is_there_and_says_nothing_about_the_host() {
    let host = FakeHost::new();
    host.write("etc/hostname", "bank-vault");
    host.write("etc/ssl/certs/ca-certificates.crt", "company CA");
    host.install("base", "", &["/usr/lib/ssl/misc", "/etc/hostname"]);
    let (_, image) = image_of(&host, &[Wanted::required("base")]).await;
    let mode = |path: &str| std::fs::metadata(image.path.join(path)).unwrap().mode() & 0o7777;
    assert_eq!([mode("tmp"), mode("var/tmp"), mode("proc"), mode(".")], [0o1777, 0o1777, 0o755, 0o755]);
    assert_eq!(read(&image, "etc/hostname").unwrap(), "");
    assert!(read(&image, "etc/passwd").unwrap().contains("\nuser:x:1000:1000:"));
    assert_eq!(read(&image, "etc/ssl/certs/ca-certificates.crt").unwrap(), "company CA");
    let bundle = link(&image, "usr/lib/ssl/cert.pem").unwrap();
    assert_eq!(bundle, "/etc/ssl/certs/ca-certificates.crt");
}

#[tokio::test]
async fn the_same_packages_have_the_same_name_on_another_host() {
    let hosts = [FakeHost::new(), FakeHost::new()];
    let mut digests = Vec::new();
    for host in &hosts {
        host.install("shell", "", &["/usr/bin/shell", "/usr/lib/z", "/usr/lib/a"]);
        digests.push(image_of(host, &[Wanted::required("shell")]).await.1.digest);
    }
    assert_eq!(digests[0], digests[1]);
}

#[tokio::test]
async fn an_upgrade_makes_a_new_image_and_keeps_the_old() {
    let host = FakeHost::new();
    host.install("shell", "", &["/usr/bin/shell"]);
    let (images, old) = image_of(&host, &[Wanted::required("shell")]).await;
    let inode = std::fs::metadata(&old.path).unwrap().ino();
    assert_eq!(images.current().await.unwrap(), old);
    // Another process finds it too, without making it again.
    let again = HostImages::open(&host.images_dir(), host.config(&[Wanted::required("shell")]));
    assert_eq!(again.unwrap().current().await.unwrap(), old);
    assert_eq!(std::fs::metadata(&old.path).unwrap().ino(), inode);

    // In place, as the worst of editors would: a shared inode would show it.
    host.write("usr/bin/shell", "a newer shell");
    host.touch_status();
    let new = images.current().await.unwrap();
    assert_ne!(new.digest, old.digest);
    assert_eq!(read(&new, "usr/bin/shell").unwrap(), "a newer shell");
    assert_eq!(read(&old, "usr/bin/shell").unwrap(), "shell /usr/bin/shell");
    assert_eq!(images.verify(&old.digest).await.unwrap(), []);
    assert_eq!(images.list().unwrap().len(), 2);

    images.remove(&old.digest).await.unwrap();
    assert_eq!(images.list().unwrap(), std::slice::from_ref(&new.digest));
    let error = images.path_of(&old.digest).unwrap_err();
    assert!(matches!(error, HostImageError::Missing(_)), "{error:?}");
    images.remove(&new.digest).await.unwrap();
    assert_eq!(images.current().await.unwrap(), new, "made again");
}

#[tokio::test]
async fn tampering_is_found() {
    let host = FakeHost::new();
    host.install("shell", "", &["/usr/bin/a", "/usr/bin/b", "/usr/bin/c"]);
    let (images, image) = image_of(&host, &[Wanted::required("shell")]).await;
    let bin = image.path.join("usr/bin");
    std::fs::write(bin.join("a"), "evil").unwrap();
    std::fs::set_permissions(bin.join("b"), std::fs::Permissions::from_mode(0o777)).unwrap();
    std::fs::remove_file(bin.join("c")).unwrap();
    std::fs::write(bin.join("d"), "new").unwrap();
    let found = images.verify(&image.digest).await.unwrap();
    let found: Vec<String> = found.iter().map(|d| format!("{} {}", d.path, d.what)).collect();
    assert_eq!(
        found,
        ["usr/bin/a has another content", "usr/bin/b has another mode", "usr/bin/c is missing", "usr/bin/d was added"]
    );
    std::fs::hard_link(bin.join("b"), host.path("outside")).unwrap();
    let found = images.verify(&image.digest).await.unwrap();
    assert_eq!(found[0].what, "shares its inode with another name");

    let manifest = image.path.parent().unwrap().join("manifest");
    std::fs::write(manifest, "shipway tree 1\n").unwrap();
    let found = images.verify(&image.digest).await.unwrap();
    assert_eq!(found[0].what, "does not match the image's name");
}

#[tokio::test]
async fn while_packages_change_the_last_image_stands_in() {
    let host = FakeHost::new();
    host.install("shell", "", &["/usr/bin/shell"]);
    let wanted = [Wanted::required("shell")];
    let _lock = child::hold_dpkg_lock(&host);
    let images = HostImages::open(&host.images_dir(), host.config(&wanted)).unwrap();
    let error = images.current().await.unwrap_err();
    assert!(matches!(error, HostImageError::PackagesBusy), "{error:?}");

    drop(_lock);
    let image = images.current().await.unwrap();
    let _lock = child::hold_dpkg_lock(&host);
    host.write("usr/bin/shell", "half an upgrade");
    host.touch_status();
    assert_eq!(images.current().await.unwrap(), image);
}

#[tokio::test]
async fn a_host_that_keeps_changing_is_given_up_on() {
    let host = FakeHost::new();
    host.install("shell", "", &["/usr/bin/shell"]);
    let config = host.config(&[Wanted::required("shell")]);
    let images = HostImages::open(&host.images_dir(), config).unwrap();
    let (status, copies) = (host.status(), Arc::new(AtomicU64::new(0)));
    let counted = Arc::clone(&copies);
    let meddle: ProgressSink = Arc::new(move |progress| {
        if progress.step == Step::Compiling {
            counted.fetch_add(1, Ordering::SeqCst);
            status.touch();
        }
    });
    let error = images.current_with_progress(meddle).await.unwrap_err();
    assert!(matches!(error, HostImageError::Changing(_)), "{error:?}");
    assert_eq!(copies.load(Ordering::SeqCst), u64::from(ATTEMPTS_MAX));
    assert_eq!(images.list().unwrap(), []);
    assert_eq!(std::fs::read_dir(host.images_dir().join("tmp")).unwrap().count(), 0);
    images.current().await.unwrap();
}

#[tokio::test]
async fn two_builders_make_one_image() {
    let host = FakeHost::new();
    host.install("shell", "", &["/usr/bin/shell"]);
    let wanted = [Wanted::required("shell")];
    let plans = Arc::new(AtomicU64::new(0));
    let sink = || -> ProgressSink {
        let plans = Arc::clone(&plans);
        Arc::new(move |progress| {
            plans.fetch_add(u64::from(progress.step == Step::Planning), Ordering::SeqCst);
        })
    };
    // As two processes would: each with its own view of the directory.
    let open = || HostImages::open(&host.images_dir(), host.config(&wanted)).unwrap();
    let (one, two) = (open(), open());
    let (a, b, c) = tokio::join!(
        one.current_with_progress(sink()),
        two.current_with_progress(sink()),
        one.current_with_progress(sink()),
    );
    assert_eq!(a.unwrap(), b.unwrap());
    c.unwrap();
    assert_eq!(plans.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_build_killed_at_any_moment_leaves_nothing_half_made() {
    let host = FakeHost::new();
    let paths: Vec<String> = (0..200).map(|n| format!("/usr/lib/file{n}")).collect();
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    host.install("shell", "", &paths);
    let wanted = [Wanted::required("shell")];
    let forget = || drop(std::fs::remove_file(host.images_dir().join("current.json")));
    let whole = child::build_whole(&host);
    let mut unfinished = 0;
    for round in 0..24 {
        // Clean up the round before, as a start does, and look at what it finds.
        let images = HostImages::open(&host.images_dir(), host.config(&wanted)).unwrap();
        assert_eq!(std::fs::read_dir(host.images_dir().join("tmp")).unwrap().count(), 0);
        for digest in images.list().unwrap() {
            assert_eq!(images.verify(&digest).await.unwrap(), []);
            images.remove(&digest).await.unwrap();
        }
        forget();
        child::build_and_kill(&host, whole * round / 20);
        unfinished += u32::from(!host.images_dir().join("current.json").exists());
    }
    assert!(unfinished > 0);
    forget();
    child::build_whole(&host);
    let images = HostImages::open(&host.images_dir(), host.config(&wanted)).unwrap();
    let image = images.current().await.unwrap();
    assert_eq!(images.verify(&image.digest).await.unwrap(), []);
}

#[test]
fn relations_lose_versions_and_architectures() {
    let status = "Package: a\nStatus: install ok installed\nArchitecture: amd64\n\
        Depends: b (>= 1:2~), c:any | d [amd64],\n e <!nocheck>\n\n\
        Package: dpkg\nStatus: install ok installed\nArchitecture: amd64\n\n\
        Package: a\nStatus: install ok installed\nArchitecture: i386\nDepends: wrong\n\n\
        Package: gone\nStatus: deinstall ok config-files\nArchitecture: amd64\n";
    let packages = dpkg::status::Packages::parse(status);
    let groups = &packages.find("a").unwrap().depends;
    let groups: Vec<String> = groups.iter().map(|group| group.join("|")).collect();
    assert_eq!(groups, ["b", "c|d", "e"]);
    assert!(packages.find("gone").is_none());
}

#[test]
fn a_broken_database_is_refused_not_guessed() {
    assert!(dpkg::diversions::Diversions::parse("/a\n/b\n").is_none());
    for text in ["", "auto\n", "auto\n/l\n", "auto\n/l\n\n/c\nx\n\n", "auto\n/l\n../x\n/y\n\n\n"] {
        assert!(dpkg::alternatives::parse("x", text).is_none(), "{text:?}");
    }
}

#[test]
fn the_directory_is_roots_alone() {
    let host = FakeHost::new();
    HostImages::open(&host.images_dir(), host.config(&[])).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().mode() & 0o7777;
    assert_eq!(mode(&host.images_dir()), 0o700);
}
