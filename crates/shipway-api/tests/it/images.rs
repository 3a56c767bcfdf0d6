//! `/v1/images`: import, list, read, remove, and deploys on them.

use http::Method;
use http::header::CONTENT_TYPE;
use serde_json::json;
use shipway_client::Client;

use crate::world::*;

/// An archive of one file, as a program that writes tar would.
fn archive(name: &str, content: &str) -> Vec<u8> {
    let home = tempfile::tempdir().unwrap();
    let tree = home.path().join("tree");
    std::fs::create_dir(&tree).unwrap();
    std::os::unix::fs::symlink(content, tree.join(name)).unwrap();
    let mut out = Vec::new();
    shipway_oci::pack(&tree, &mut out, &shipway_oci::UnpackLimits::default()).unwrap();
    out
}

async fn import(client: &Client, name: &str, body: Vec<u8>) -> http::Response<bytes::Bytes> {
    let headers = [(CONTENT_TYPE, "application/octet-stream")];
    client.raw(Method::PUT, &format!("/v1/images/{name}"), &headers, body).await.unwrap()
}

#[tokio::test]
async fn an_image_is_imported_listed_read_and_removed() {
    let world = World::start().await;
    let root = world.root();
    let made = import(&root, "team%2Fbox:1.0", archive("a", "b")).await;
    assert_eq!(outcome(&made), "201");
    let made = json(&made);
    assert_eq!((&made["name"], &made["entries"], &made["services"]), (&json!("team/box:1.0"), &json!(2), &json!([])));
    for n in 0..3 {
        assert_eq!(outcome(&import(&root, &format!("n{n}"), archive("a", "b")).await), "201");
    }
    let page = json(&ask(&root, Method::GET, "/v1/images?limit=3", &[], "").await);
    assert_eq!(page["items"].as_array().unwrap().len(), 3);
    assert!(page["next"].is_string(), "{page}");
    let names: Vec<_> = root.images().await.unwrap().into_iter().map(|image| image.name).collect();
    assert_eq!(names, ["n0:latest", "n1:latest", "n2:latest", "team/box:1.0"]);
    let image = root.image("team/box:1.0").await.unwrap();
    assert_eq!(image.digest, made["digest"]);
    root.remove_image("team/box:1.0").await.unwrap();
    assert_eq!(outcome(&ask(&root, Method::GET, "/v1/images/team%2Fbox:1.0", &[], "").await), "404 no_such_image");
    assert_eq!(outcome(&ask(&root, Method::DELETE, "/v1/images/team%2Fbox:1.0", &[], "").await), "404 no_such_image");
}

#[tokio::test]
async fn a_bad_archive_or_name_is_refused_by_name() {
    let world = World::start().await;
    let root = world.root();
    let refused = import(&root, "box", b"hello".repeat(300)).await;
    assert_eq!(outcome(&refused), "422 archive_refused");
    assert_eq!(json(&refused)["errors"][0]["pointer"], "rule:format");
    assert_eq!(outcome(&import(&root, "box", vec![0; 5 << 20]).await), "413 body_too_large");
    for name in ["Box", "a%2F%2Fb", "a:b:c", "..%2Fx", "a%00"] {
        assert_eq!(outcome(&import(&root, name, archive("a", "b")).await), "400 invalid_name", "{name}");
    }
    assert!(root.images().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_project_has_names_of_its_own() {
    let world = World::start().await;
    let theirs = world.client(Some(&world.token("admin", "theirs").await));
    assert_eq!(outcome(&import(&world.root(), "box", archive("a", "b")).await), "201");
    assert!(theirs.images().await.unwrap().is_empty());
    assert_eq!(outcome(&ask(&theirs, Method::DELETE, "/v1/images/box", &[], "").await), "404 no_such_image");
    let body = r#"{"image":"box","command":["x"],"port":80}"#;
    assert_eq!(outcome(&put(&theirs, "/v1/services/web", body).await), "404 no_such_image");
}

#[tokio::test]
async fn what_cannot_be_made_of_packages_says_what_to_do() {
    let world = World::start().await;
    let root = world.root();
    let post = async |body: &str| {
        ask(&root, Method::POST, "/v1/images/box/bootstrap", &[("content-type", "application/json")], body).await
    };
    let missing = post(r#"{"from":"debian:bookworm"}"#).await;
    assert_eq!(outcome(&missing), "501 bootstrap_unavailable");
    assert_eq!(json(&missing)["hint"], "apt-get install mmdebstrap");
    assert_eq!(outcome(&post(r#"{"from":"--help"}"#).await), "400 invalid_field");
    assert_eq!(outcome(&post(r#"{}"#).await), "400 invalid_field");
}

#[tokio::test]
async fn a_deploy_on_an_image_names_every_field_that_is_wrong() {
    let world = World::start().await;
    let root = world.root();
    import(&root, "box", archive("a", "b")).await;
    for (body, pointers) in [
        (r#"{"image":"box"}"#, "#/command #/port"),
        (r#"{"image":"box","command":[],"port":0}"#, "#/command #/port"),
        (r#"{"image":"box","command":["a\u0000"],"port":80}"#, "#/command"),
        (r#"{"image":"Box","command":["a"],"port":80}"#, "#/image"),
        (r#"{"image":"box","command":["a"],"port":80,"url":"http://x","kind":"script"}"#, "#/url #/kind"),
        (r#"{"image":"other","command":["a"],"port":80}"#, "#/image"),
        (r#"{"image":"box","command":["a"],"port":80,"runner":"nginx"}"#, "#/runner"),
        (r#"{"image":"box","url":"https://example.com/x","runner":"native"}"#, "#/url #/runner #/command #/port"),
        (
            r#"{"image":"box","url":"https://example.com/x","runner":"nginx","command":["a"],"port":1}"#,
            "#/command #/port",
        ),
        (r#"{"image":"other","url":"https://example.com/x","runner":"nginx"}"#, "#/image"),
        (r#"{"command":["a"],"port":80}"#, "#/command #/port #/url"),
        (r#"{"image":"box","command":"a b","port":80}"#, "#/command"),
        (r#"{"image":"box","command":["a"],"port":65536}"#, "#/port"),
    ] {
        let refused = put(&root, "/v1/services/web", body).await;
        let errors = json(&refused)["errors"].clone();
        let told: Vec<_> = errors.as_array().unwrap().iter().map(|error| error["pointer"].as_str().unwrap()).collect();
        assert_eq!(told.join(" "), pointers, "{body}: {errors}");
    }
}

#[tokio::test]
async fn content_is_served_by_the_nginx_of_an_image() {
    let world = World::start().await;
    let root = world.root();
    import(&root, "box", archive("a", "b")).await;
    let image = root.image("box").await.unwrap().digest;
    let upload = root.upload_bytes("hello".into()).await.unwrap().digest;
    let body = format!(r#"{{"upload":"{upload}","runner":"nginx","image":"box"}}"#);
    assert_eq!(outcome(&put(&root, "/v1/services/web", &body).await), "201");
    let release = root.release("web", 1).await.unwrap();
    assert_eq!((release.root, release.runner), (image, Some(shipway_api_types::Runner::Nginx)));
    assert!(release.source.is_some() && release.command.is_none());
    let kept = ask(&root, Method::DELETE, "/v1/images/box", &[], "").await;
    assert_eq!(outcome(&kept), "409 image_in_use");
}

#[tokio::test]
async fn a_release_shows_its_image_and_keeps_it() {
    let world = World::start().await;
    let root = world.root();
    import(&root, "box", archive("a", "b")).await;
    let first = root.image("box").await.unwrap().digest;
    let body = r#"{"image":"box","command":["httpd","-f"],"port":8000,"protocol":"h2c"}"#;
    assert_eq!(outcome(&put(&root, "/v1/services/web", body).await), "201");
    import(&root, "box", archive("a", "c")).await;
    assert_eq!(outcome(&put(&root, "/v1/services/web", body).await), "200");
    let release = root.release("web", 1).await.unwrap();
    assert_eq!((release.root, release.image.as_deref(), release.port), (first, Some("box:latest"), Some(8000)));
    assert!(release.source.is_none() && release.kind.is_none());
    assert_eq!(release.protocol, Some(shipway_api_types::Protocol::H2c));
    let diff = root.diff("web", 1, 2).await.unwrap();
    let fields: Vec<_> = diff.changes.iter().map(|change| change.field.as_str()).collect();
    assert_eq!(fields, ["root"]);
    let kept = ask(&root, Method::DELETE, "/v1/images/box", &[], "").await;
    assert_eq!(outcome(&kept), "409 image_in_use");
    assert!(json(&kept)["detail"].as_str().unwrap().contains("`web`"));
    root.delete("web", PATIENCE).await.unwrap();
    root.remove_image("box").await.unwrap();
}
