use super::*;

#[track_caller]
fn check(given: &str, expected: &str) {
    let answer = match ModulePath::parse(given) {
        Ok(path) => format!("{} + {:?}", path.prefix(), path.major()),
        Err(ModuleError::Path { reason, .. }) => reason.to_owned(),
        Err(other) => panic!("{other}"),
    };
    assert_eq!(answer, expected, "given: {given}");
}

#[test]
fn a_major_stands_at_the_end() {
    check("x.com/a", "x.com/a + \"\"");
    check("x.com/a/v2", "x.com/a + \"/v2\"");
    check("x.com/a/v10", "x.com/a + \"/v10\"");
    check("x.com/av2", "x.com/av2 + \"\"");
    check("gopkg.in/yaml.v3", "gopkg.in/yaml + \".v3\"");
    check("gopkg.in/yaml.v3-unstable", "gopkg.in/yaml + \".v3-unstable\"");
}

#[test]
fn majors_that_are_none_are_refused() {
    let none = "its major version is none (/v2 and up; gopkg.in: .v1 and up)";
    for path in ["x.com/a/v0", "x.com/a/v1", "x.com/a/v02", "x.com/a/v2.1", "gopkg.in/yaml", "gopkg.in/yaml.v03"] {
        check(path, none);
    }
}

#[test]
fn elements_are_plain() {
    check("", "it is empty");
    check("x.com//a", "an element is empty");
    check("x.com/a/", "an element is empty");
    check("x.com/.git", "an element begins with a dot");
    check("x.com/a.", "an element ends with a dot");
    check("x.com/a b", "only letters, digits and -._~ are accepted");
    check("x.com/a+b", "only letters, digits and -._~ are accepted");
    check("x.com/ä", "only letters, digits and -._~ are accepted");
    check("x.com/CON.go", "an element is a device on Windows");
    check("x.com/long~1.go", "an element looks like a short name on Windows");
    check("X.com/a", "its first element is no domain name in lower case");
    check("localhost/a", "its first element has no dot, so it is no domain name");
    check(&format!("x.com{}", "/a".repeat(24)), "it has too many elements");
    assert!(ImportPath::parse("x.com/a+b").is_ok(), "a package may");
}

#[test]
fn a_package_may_be_in_any_module_above_it() {
    let package = ImportPath::parse("x.com/a/v2/b").unwrap();
    let found: Vec<String> = package.candidates().iter().map(ToString::to_string).collect();
    assert_eq!(found, ["x.com/a/v2/b", "x.com/a/v2", "x.com/a", "x.com"]);
    assert_eq!(package.inside(&ModulePath::parse("x.com/a/v2").unwrap()), Some("b"));
    assert_eq!(package.inside(&ModulePath::parse("x.com/a/v2/b").unwrap()), Some(""));
    assert_eq!(ImportPath::parse("x.com/ab").unwrap().inside(&ModulePath::parse("x.com/a").unwrap()), None);
}

#[test]
fn another_major_is_another_path() {
    let other = |path: &str, major| ModulePath::parse(path).unwrap().with_major(major).unwrap().to_string();
    assert_eq!(other("x.com/a/v2", 1), "x.com/a");
    assert_eq!(other("x.com/a", 2), "x.com/a/v2");
    assert_eq!(other("gopkg.in/yaml.v3", 2), "gopkg.in/yaml.v2");
}
