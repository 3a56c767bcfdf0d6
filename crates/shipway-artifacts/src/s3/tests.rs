//! Settings that cannot be right are named; the others give the bucket's URL.

use super::*;
use crate::config::{S3Limits, Secret};

fn config(bucket: &str, endpoint: Option<&str>) -> S3Config {
    S3Config {
        bucket: bucket.to_owned(),
        region: "eu-west-1".to_owned(),
        endpoint: endpoint.map(str::to_owned),
        access_key: "AK".to_owned(),
        secret_key: Secret::new("SK".to_owned()),
        limits: S3Limits::default(),
    }
}

#[track_caller]
fn check(config: &S3Config, expected: &str) {
    let found = match bucket_url(config) {
        Ok(url) => url,
        Err(ArtifactError::Refused { setting, .. }) => setting.to_owned(),
        Err(error) => error.to_string(),
    };
    assert_eq!(found, expected);
}

#[test]
fn an_endpoint_has_the_bucket_in_its_path_and_amazon_in_its_host() {
    check(&config("farm", Some("http://127.0.0.1:9000/")), "http://127.0.0.1:9000/farm");
    check(&config("farm", Some("https://store.example/s3")), "https://store.example/s3/farm");
    check(&config("farm", None), "https://farm.s3.eu-west-1.amazonaws.com");
    check(&config("farm.example", None), "https://s3.eu-west-1.amazonaws.com/farm.example");
}

#[test]
fn settings_that_cannot_be_right_are_named() {
    for endpoint in ["127.0.0.1:9000", "ftp://host", "http://u:p@host", "http://host/?a=b"] {
        check(&config("farm", Some(endpoint)), "storage.s3.endpoint");
    }
    for bucket in ["", "ab", "a/b/c", "a..b", "späße"] {
        check(&config(bucket, None), "storage.s3.bucket");
    }
    check(&S3Config { access_key: String::new(), ..config("farm", None) }, "storage.s3.access_key");
    check(&S3Config { secret_key: Secret::new(String::new()), ..config("farm", None) }, "storage.s3.secret_key");
    check(&S3Config { region: "a b".to_owned(), ..config("farm", None) }, "storage.s3.region");
}
