//! `docs/conformance.md` names tests that exist.

use std::fs;
use std::path::Path;

/// Where the test of this path must be, and its name.
fn location(path: &str) -> (String, &str) {
    let parts: Vec<_> = path.split("::").collect();
    let (name, modules) = parts.split_last().expect("a path");
    if let [inner @ .., "tests"] = modules {
        return (format!("src/{}", inner.join("/")), name);
    }
    (format!("tests/protocol/{}", modules.join("/")), name)
}

#[test]
fn every_test_named_in_the_conformance_table_exists() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let table = fs::read_to_string(package.join("../docs/conformance.md")).expect("the table");
    let quoted = table.split('`').skip(1).step_by(2);
    let tests: Vec<_> = quoted
        .filter(|q| q.contains("::") && !q.contains("HANDSHAKE_TOS"))
        .collect();
    assert!(tests.len() > 100, "only {} tests are named", tests.len());
    for test in tests {
        let (module, name) = location(test);
        let sources = ["", "/mod", "/tests"].map(|file| package.join(format!("{module}{file}.rs")));
        let sources: Vec<_> = sources
            .iter()
            .filter_map(|source| fs::read_to_string(source).ok())
            .collect();
        assert!(!sources.is_empty(), "{test}: no such module");
        let declared = sources.iter().any(|source| is_test(source, name));
        assert!(declared, "{test} does not exist");
    }
}

/// Whether `source` declares a test of that name which is run.
fn is_test(source: &str, name: &str) -> bool {
    let lines: Vec<_> = source.lines().map(str::trim).collect();
    let declaration = format!("fn {name}(");
    let declared = |at: &usize| lines[*at].starts_with(&declaration);
    (0..lines.len()).filter(declared).any(|at| {
        let attributes = lines[..at]
            .iter()
            .rev()
            .take_while(|line| line.starts_with('#'));
        let attributes: Vec<_> = attributes.collect();
        attributes.contains(&&"#[test]") && !attributes.iter().any(|a| a.starts_with("#[ignore"))
    })
}
