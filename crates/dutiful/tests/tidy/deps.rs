//! What the house depends on: licences, bans, and reasons beside the library's own choices.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

use crate::source::{Problem, read, root};

/// Licences that ask for no more than a notice.
const LICENCES: [&str; 13] = [
    "MIT",
    "MIT-0",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "0BSD",
    "CC0-1.0",
    "Unlicense",
    "Unicode-3.0",
    "BSL-1.0",
    "CDLA-Permissive-2.0",
];
/// Crates that are not to be anywhere in the graph, and why.
const BANNED: [(&str, &str); 9] = [
    ("openssl", "TLS is rustls"),
    ("openssl-sys", "TLS is rustls"),
    ("native-tls", "TLS is rustls"),
    ("cmake", "a C compiler is all that a build may need"),
    ("aws-lc-sys", "it needs cmake on some machines; rustls uses ring"),
    ("protobuf-src", "it builds protoc"),
    ("prost-build", "it needs protoc"),
    ("fred", "the Redis client is `redis`"),
    ("serde_yaml", "it is no longer kept"),
];
/// Crates that no crate of ours may choose; others may bring them.
const BANNED_DIRECT: [(&str, &str); 4] = [
    ("chrono", "time is jiff's"),
    ("time", "time is jiff's"),
    ("rand", "randomness is fastrand's, seeded"),
    ("sqlx", "adapters for foreign drivers are crates and workspaces of their own"),
];
/// The manifests of the workspaces.
const WORKSPACES: [&str; 2] = ["Cargo.toml", "adapters/Cargo.toml"];
/// Servers for tests, and what breaks the connections to them; they know no crate of the house, so
/// there is no circle.
const TESTS_MAY: [&str; 2] = ["dutiful-fixture", "dutiful-proxy"];
/// The library's own choices, optional ones not counted.
const DIRECT_MAX: usize = 14;

/// Asks cargo for the whole graph of this machine's builds, without the network.
pub(crate) fn metadata() -> Value {
    let host = run("rustc", &["-vV"]);
    let host = host.lines().find_map(|line| line.strip_prefix("host: "));
    let host = host.expect("rustc -vV names its host");
    let flags = ["metadata", "--format-version", "1", "--offline", "--all-features"];
    let mut arguments = flags.to_vec();
    arguments.extend(["--filter-platform", host]);
    let json = run(env!("CARGO"), &arguments);
    let mut metadata: Value = serde_json::from_str(&json).expect("cargo metadata prints JSON");
    // The lock file also names what a feature that nobody turns on would bring: that is not built.
    let built = built(host);
    let packages = metadata["packages"].as_array_mut().expect("a list of packages");
    packages.retain(|one| {
        built.contains(&(text(one, "name").to_owned(), text(one, "version").to_owned()))
    });
    metadata
}

/// Returns the name and version of everything that a build of the workspace contains.
fn built(host: &str) -> BTreeSet<(String, String)> {
    let flags = ["tree", "--workspace", "--all-features", "--offline", "--prefix", "none"];
    let tree = run(env!("CARGO"), &[&flags[..], &["--target", host]].concat());
    let pair = |line: &str| {
        let (name, rest) = line.split_once(" v")?;
        Some((name.to_owned(), rest.split(' ').next()?.to_owned()))
    };
    let built: BTreeSet<_> = tree.lines().filter_map(pair).collect();
    assert!(built.len() > 100, "cargo tree was not understood: {tree}");
    built
}

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).current_dir(root()).output();
    let output = output.unwrap_or_else(|e| panic!("start {program}: {e}"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} failed (`cargo fetch` first?):\n{stderr}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Every package has a licence that asks for no more than a notice.
pub(crate) fn licences(metadata: &Value) -> Vec<Problem> {
    let refused = packages(metadata).filter_map(|package| {
        let licence = package["license"].as_str().unwrap_or("none");
        let what = format!("{} is under {licence}: choose another crate", text(package, "name"));
        (!permits(licence)).then(|| Problem::new("Cargo.lock", 1, what))
    });
    refused.collect()
}

/// No package is banned.
pub(crate) fn bans(metadata: &Value) -> Vec<Problem> {
    let mut problems = Vec::new();
    for package in packages(metadata) {
        let name = text(package, "name");
        if let Some((_, why)) = BANNED.iter().find(|(banned, _)| *banned == name) {
            problems.push(Problem::new("Cargo.lock", 1, format!("drop {name}: {why}")));
        }
        let ours = package["source"].is_null();
        for dependency in list(package, "dependencies").iter().filter(|_| ours) {
            let chosen = text(dependency, "name");
            if let Some((_, why)) = BANNED_DIRECT.iter().find(|(banned, _)| *banned == chosen) {
                let what = format!("{name} chooses {chosen}; drop it: {why}");
                problems.push(Problem::new(text(package, "manifest_path"), 1, what));
            }
        }
    }
    problems
}

/// The library knows no other crate of the house, but for what only its tests need.
pub(crate) fn downward(metadata: &Value) -> Vec<Problem> {
    let is_low = |name: &str| name == "dutiful" || TESTS_MAY.contains(&name);
    let low = packages(metadata).filter(|p| is_low(text(p, "name")));
    let mut problems = Vec::new();
    for package in low {
        let name = text(package, "name");
        let for_tests = |d: &Value| {
            name == "dutiful" && TESTS_MAY.contains(&text(d, "name")) && text(d, "kind") == "dev"
        };
        let inward = list(package, "dependencies").iter().filter(|d| !d["path"].is_null());
        for other in inward.filter(|d| !for_tests(d)) {
            let what = format!("{name} depends on {}: turn it round", text(other, "name"));
            problems.push(Problem::new(text(package, "manifest_path"), 1, what));
        }
    }
    problems
}

fn packages(metadata: &Value) -> impl Iterator<Item = &Value> {
    list(metadata, "packages").iter()
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// Says whether an SPDX expression can be met with the licences on the list.
fn permits(expression: &str) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let tokens: Vec<_> = spaced.split_whitespace().collect();
    let mut at = 0;
    let permitted = any_of(&tokens, &mut at);
    permitted && at == tokens.len()
}

fn any_of(tokens: &[&str], at: &mut usize) -> bool {
    let mut permitted = all_of(tokens, at);
    while tokens.get(*at) == Some(&"OR") {
        *at += 1;
        permitted |= all_of(tokens, at);
    }
    permitted
}

fn all_of(tokens: &[&str], at: &mut usize) -> bool {
    let mut permitted = one(tokens, at);
    while tokens.get(*at) == Some(&"AND") {
        *at += 1;
        permitted &= one(tokens, at);
    }
    permitted
}

fn one(tokens: &[&str], at: &mut usize) -> bool {
    let token = tokens.get(*at).copied().unwrap_or_default();
    *at += 1;
    if token == "(" {
        let permitted = any_of(tokens, at);
        let closed = tokens.get(*at) == Some(&")");
        *at += 1;
        return permitted && closed;
    }
    let mut permitted = LICENCES.contains(&token);
    if tokens.get(*at) == Some(&"WITH") {
        permitted &= tokens.get(*at + 1) == Some(&"LLVM-exception");
        *at += 2;
    }
    permitted
}

/// The library chooses at most 14 crates, each with its reason above it or beside it.
pub(crate) fn choices(path: &str, manifest: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    let (mut inside, mut count, mut before) = (false, 0, "");
    for (n, line) in manifest.lines().map(str::trim).enumerate() {
        if line.starts_with('[') {
            inside = line == "[dependencies]";
        } else if inside && line.contains('=') && !line.starts_with('#') {
            let optional = line.replace(' ', "").contains("optional=true");
            count += usize::from(!optional);
            let reason = before.starts_with("# ") || line.contains(" # ");
            if !optional && !reason {
                problems.push(Problem::new(path, n + 1, "say why above it, or do without it"));
            }
        }
        before = line;
    }
    if count > DIRECT_MAX {
        let what = format!("{count} dependencies: {DIRECT_MAX} are the limit");
        problems.push(Problem::new(path, 1, what));
    }
    problems
}

/// Every crate forbids `unsafe` through the lints of its workspace.
pub(crate) fn lints(manifests: &[String]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for path in WORKSPACES {
        if !read(path).contains("unsafe_code = \"forbid\"") {
            let what = "set unsafe_code = \"forbid\" in [workspace.lints.rust]";
            problems.push(Problem::new(path, 1, what));
        }
    }
    for path in manifests.iter().filter(|path| !WORKSPACES.contains(&path.as_str())) {
        problems.extend(inherits(path, &read(path)));
    }
    problems
}

fn inherits(path: &str, manifest: &str) -> Option<Problem> {
    let squeezed = manifest.replace(' ', "");
    let inherited = squeezed.contains("[lints]\nworkspace=true");
    let own =
        path == "crates/dutiful-trust/Cargo.toml" && squeezed.contains("unsafe_code=\"deny\"");
    let what = "add `[lints]` with `workspace = true`, so that unsafe code stays forbidden";
    (!inherited && !own).then(|| Problem::new(path, 1, what))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_licence_expressions() {
        for good in [
            "MIT",
            "MIT OR Apache-2.0",
            "MIT/Apache-2.0",
            "GPL-3.0 OR MIT",
            "(MIT OR Apache-2.0) AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception OR GPL-2.0",
        ] {
            assert!(permits(good), "{good}");
        }
        for bad in [
            "",
            "none",
            "GPL-3.0",
            "MIT AND GPL-3.0",
            "(MIT OR GPL-3.0) AND MPL-2.0",
            "MIT MIT",
            "Apache-2.0 WITH Something",
            "(MIT",
        ] {
            assert!(!permits(bad), "{bad}");
        }
    }

    #[test]
    fn refuses_bad_packages() {
        let metadata = serde_json::json!({ "packages": [
            { "name": "dutiful", "license": "MIT", "manifest_path": "Cargo.toml", "source": null,
              "dependencies": [{ "name": "chrono" }, { "name": "dutiful-cli", "path": "/x" }] },
            { "name": "openssl", "license": "Apache-2.0", "source": "registry" },
            { "name": "copyleft", "license": "GPL-3.0", "source": "registry" },
            { "name": "unsaid", "source": "registry", "dependencies": [{ "name": "chrono" }] },
        ]});
        assert_eq!(licences(&metadata).len(), 2);
        assert_eq!(bans(&metadata).len(), 2);
        assert_eq!(downward(&metadata).len(), 1);
        let proxy = |kind: &str| {
            serde_json::json!({ "packages": [
                { "name": "dutiful", "dependencies": [
                    { "name": "dutiful-proxy", "path": "/x", "kind": kind }] },
                { "name": "dutiful-proxy", "dependencies": [] },
            ]})
        };
        assert_eq!(downward(&proxy("dev")), []);
        assert_eq!(downward(&proxy("build")).len(), 1);
        let circle = serde_json::json!({ "packages": [{ "name": "dutiful-proxy",
            "dependencies": [{ "name": "dutiful", "path": "/x", "kind": "dev" }] }]});
        assert_eq!(downward(&circle).len(), 1);
    }

    #[test]
    fn counts_choices_and_asks_for_reasons() {
        let good = "[dependencies]\n# why\na = \"1\"\nb = \"1\" # why\nc = { optional = true }\n";
        assert_eq!(choices("Cargo.toml", good), []);
        assert_eq!(choices("Cargo.toml", "[dependencies]\na = \"1\"\n").len(), 1);
        let many = format!("[dependencies]\n{}", "# why\na.workspace = true\n".repeat(15));
        assert_eq!(choices("Cargo.toml", &many).len(), 1);
        let tests = format!("[dev-dependencies]\n{}", "a.workspace = true\n".repeat(15));
        assert_eq!(choices("Cargo.toml", &tests), []);
    }

    #[test]
    fn refuses_a_crate_that_drops_the_lints() {
        let good = "[package]\n[lints]\nworkspace = true\n";
        assert_eq!(inherits("crates/a/Cargo.toml", good), None);
        assert!(inherits("crates/a/Cargo.toml", "[package]\n").is_some());
        let own = "[lints.rust]\nunsafe_code = \"deny\"\n";
        assert!(inherits("crates/a/Cargo.toml", own).is_some());
        assert_eq!(inherits("crates/dutiful-trust/Cargo.toml", own), None);
    }
}
