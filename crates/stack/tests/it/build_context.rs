//! What a build of the images sees, and what its layers keep: no settings, no keys, no data of a
//! stack.
//!
//! Whoever has an image has every layer of it, and every ARG and ENV besides.

use crate::dockerfile::{Dockerfile, files, read};

/// `.dockerignore`, in order: whether a pattern lets through, and its path.
fn patterns() -> Vec<(bool, String)> {
    let text = read(".dockerignore");
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let read = |line: &str| match line.strip_prefix('!') {
        Some(pattern) => (true, pattern.to_owned()),
        None => (false, line.to_owned()),
    };
    lines.map(read).collect()
}

/// Whether the last pattern that fits a path, or a folder it is in, keeps it out, as Docker reads
/// them (<https://docs.docker.com/build/concepts/context/#dockerignore-files>).
fn is_kept_out(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    let patterns = patterns();
    let fitting = patterns.iter().rev().find(|(_, pattern)| {
        let pattern: Vec<&str> = pattern.split('/').collect();
        (1..=parts.len()).any(|length| fits(&pattern, &parts[..length]))
    });
    fitting.is_some_and(|(lets_through, _)| !lets_through)
}

fn fits(pattern: &[&str], path: &[&str]) -> bool {
    match (pattern, path) {
        ([], []) => true,
        (["**", rest @ ..], _) => {
            fits(rest, path) || path.split_first().is_some_and(|(_, below)| fits(pattern, below))
        }
        ([first, rest @ ..], [name, below @ ..]) => fits_name(first, name) && fits(rest, below),
        _ => false,
    }
}

/// A name, or one with a single star.
fn fits_name(pattern: &str, name: &str) -> bool {
    let Some((before, after)) = pattern.split_once('*') else { return pattern == name };
    let rest = name.strip_prefix(before);
    rest.is_some_and(|rest| rest.ends_with(after))
}

#[test]
fn nothing_secret_gets_into_a_build_wherever_it_lies() {
    for folder in ["", "edge/", "crates/stack/", "nginx/compose/", "public/", "perf/benches/"] {
        for name in [
            ".env",
            ".env.production",
            ".stack/settings.json",
            ".stack-tls/rabbitmq.conf",
            "tls.key",
            "keys/tls.pem",
            "client.p12",
            "id_rsa",
            "id_ed25519.pub",
        ] {
            assert!(is_kept_out(&format!("{folder}{name}")), "{folder}{name}");
        }
    }
    for path in ["target/release/edge", ".git/config", "docs/RUNBOOK.md", "docker-compose.yml"] {
        assert!(is_kept_out(path), "{path}");
    }
}

#[test]
fn what_is_compiled_and_served_gets_in_and_holds_no_key() {
    let mut seen = 0;
    for folder in ["crates", "edge", "settler", "lua", "sql", "nginx", "public"] {
        for extension in ["rs", "toml", "lua", "sql", "conf", "js", "css", "html", "json"] {
            for path in files(folder, extension) {
                assert!(!is_kept_out(&path), "{path}");
                let holds_one = read(&path).lines().any(|line| line.starts_with("-----BEGIN "));
                assert!(!holds_one, "a key or a certificate in {path}");
                seen += 1;
            }
        }
    }
    assert!(seen > 300, "only {seen} files were looked at");
}

/// Words in the names of settings that are secrets, or hold one.
const SECRETS: [&str; 6] = ["TOKEN", "_KEY", "PASSW", "SECRET", "CREDENTIAL", "_URL"];

#[test]
fn no_layer_and_no_command_line_carries_a_secret() {
    let dockerfile = read("Dockerfile");
    let instructions = dockerfile.lines().filter(|line| !line.trim_start().starts_with('#'));
    for line in instructions {
        let found = SECRETS.iter().find(|word| line.to_uppercase().contains(*word));
        assert_eq!(found, None, "{line}");
        // An ARG is written down with the image; ADD fetches what nobody has seen.
        assert!(!line.starts_with("ARG ") && !line.starts_with("ADD "), "{line}");
    }
    for (stage, source, _) in Dockerfile::read().copies() {
        let whole = [".", "./", "/", "*"].contains(&source.as_str());
        assert!(!whole && !source.starts_with(".."), "{stage} copies {source}");
    }
}
