//! The Dockerfile, read; and its own tests: sources that exist, and an nginx that starts.

use std::path::{Path, PathBuf};
use std::process::Command;

use parse_dockerfile::{Command as Words, Instruction, Source, Stage};

/// The top of the project.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A file of the project.
pub(crate) fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// What the tests ask of the Dockerfile.
pub(crate) struct Dockerfile(String);

fn words(command: &Words<'_>) -> Vec<String> {
    match command {
        Words::Exec(words) => words.value.iter().map(|word| word.value.to_string()).collect(),
        other => panic!("not an exec form: {other:?}"),
    }
}

impl Dockerfile {
    pub(crate) fn read() -> Self {
        Self(read("Dockerfile"))
    }

    /// The last of something in a stage, or in the stages it is made from.
    fn find<T>(&self, name: &str, pick: impl Fn(&Instruction<'_>) -> Option<T>) -> Option<T> {
        let parsed = parse_dockerfile::parse(&self.0).expect("the Dockerfile can be read");
        let mut stage: Option<Stage<'_, '_>> = parsed.stage(name);
        while let Some(current) = stage {
            if let Some(found) = current.instructions.iter().rev().find_map(&pick) {
                return Some(found);
            }
            stage = parsed.stage(&current.from.image.value);
        }
        None
    }

    /// Who runs a stage's program.
    pub(crate) fn user(&self, stage: &str) -> String {
        let user = self.find(stage, |instruction| match instruction {
            Instruction::User(user) => Some(user.arguments.value.to_string()),
            _ => None,
        });
        user.unwrap_or_default()
    }

    /// The port a stage exposes.
    pub(crate) fn port(&self, stage: &str) -> String {
        let port = self.find(stage, |instruction| match instruction {
            Instruction::Expose(expose) => Some(expose.arguments[0].value.to_string()),
            _ => None,
        });
        port.unwrap_or_else(|| panic!("{stage} exposes nothing"))
    }

    /// A variable a stage sets.
    pub(crate) fn env(&self, stage: &str, name: &str) -> String {
        let value = self.find(stage, |instruction| match instruction {
            Instruction::Env(env) => {
                env.arguments.value.strip_prefix(name)?.strip_prefix('=').map(str::to_owned)
            }
            _ => None,
        });
        value.unwrap_or_else(|| panic!("{stage} sets no {name}"))
    }

    /// The program of a stage.
    pub(crate) fn entrypoint(&self, stage: &str) -> Vec<String> {
        let program = self.find(stage, |instruction| match instruction {
            Instruction::Entrypoint(entrypoint) => Some(words(&entrypoint.arguments)),
            _ => None,
        });
        program.unwrap_or_default()
    }

    /// Its arguments.
    pub(crate) fn command(&self, stage: &str) -> Vec<String> {
        let arguments = self.find(stage, |instruction| match instruction {
            Instruction::Cmd(cmd) => Some(words(&cmd.arguments)),
            _ => None,
        });
        arguments.unwrap_or_default()
    }

    /// Images of others that stages start from.
    pub(crate) fn images(&self) -> Vec<String> {
        let parsed = parse_dockerfile::parse(&self.0).unwrap();
        let from = parsed.stages().map(|stage| stage.from.image.value.to_string());
        from.filter(|image| parsed.stage(image).is_none()).collect()
    }

    /// What is copied from the project: stage, source, destination.
    pub(crate) fn copies(&self) -> Vec<(String, String, String)> {
        let parsed = parse_dockerfile::parse(&self.0).unwrap();
        let mut copies = Vec::new();
        for stage in parsed.stages() {
            let name = stage.from.as_.as_ref().map(|(_, name)| name.value.to_string());
            for instruction in stage.instructions {
                let Instruction::Copy(copy) = instruction else { continue };
                if copy.options.iter().any(|option| option.name.value == "from") {
                    continue;
                }
                for source in &copy.src {
                    let Source::Path(path) = source else { panic!("a here-document") };
                    let stage = name.clone().unwrap_or_default();
                    copies.push((stage, path.value.to_string(), copy.dest.value.to_string()));
                }
            }
        }
        copies
    }
}

/// Files under a folder of the project, relative to it.
pub(crate) fn files(folder: &str, extension: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![root().join(folder)];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            if entry.path().is_dir() {
                open.push(entry.path());
            } else if entry.path().extension().is_some_and(|e| e == extension) {
                let path = entry.path();
                found.push(path.strip_prefix(root()).unwrap().display().to_string());
            }
        }
    }
    found
}

#[test]
fn what_is_copied_exists_and_is_let_through() {
    let let_through: Vec<String> = read(".dockerignore")
        .lines()
        .filter_map(|line| line.strip_prefix('!').map(str::to_owned))
        .collect();
    let copies = Dockerfile::read().copies();
    assert!(copies.len() > 10);
    for (stage, source, _) in &copies {
        assert!(root().join(source).exists(), "{stage} copies {source}");
        let admitted = let_through.iter().any(|pattern| Path::new(source).starts_with(pattern));
        assert!(admitted, "{source} is kept out by .dockerignore");
    }
}

#[test]
fn the_build_sees_every_manifest_and_every_file_that_is_compiled_in() {
    let copies = Dockerfile::read().copies();
    let sources: Vec<&str> = copies
        .iter()
        .filter(|(stage, ..)| stage == "build")
        .map(|(_, source, _)| source.as_str())
        .collect();
    let workspace = read("Cargo.toml");
    let (_, members) = workspace.split_once("members = [").unwrap();
    let (members, _) = members.split_once(']').unwrap();
    let members: Vec<&str> = members.split('"').skip(1).step_by(2).collect();
    assert!(members.len() > 5, "{members:?}");
    for member in members {
        assert!(sources.contains(&format!("{member}/Cargo.toml").as_str()), "{member}");
    }
    let mut compiled_in = 0;
    for file in ["edge/src", "settler/src", "crates/service/src", "crates/domain/src"]
        .iter()
        .flat_map(|folder| files(folder, "rs"))
    {
        for part in read(&file).split("include_str!(\"").skip(1) {
            let included = root().join(&file).with_file_name(part.split('"').next().unwrap());
            let included = included.canonicalize().unwrap_or_else(|e| panic!("{file}: {e}"));
            let included = included.strip_prefix(root().canonicalize().unwrap()).unwrap();
            let seen = sources.iter().any(|source| included.starts_with(source));
            assert!(seen, "{file} includes {}, which is not copied", included.display());
            compiled_in += 1;
        }
    }
    assert!(compiled_in > 10, "{compiled_in}");
}

/// The very command of the image, on the very files; only names an older nginx on a machine
/// without Docker cannot resolve are replaced.
#[test]
fn nginx_takes_the_files_of_its_image() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().display().to_string();
    let dockerfile = Dockerfile::read();
    let mut copied = Vec::new();
    for (stage, source, destination) in dockerfile.copies() {
        if stage != "web" || destination == "/srv/public" {
            continue;
        }
        let name = destination.strip_prefix("/srv/nginx/").unwrap();
        let path = root().join(&source);
        if path.is_dir() {
            let inside = std::fs::read_dir(&path).unwrap().flatten();
            copied.extend(inside.map(|entry| (entry.path(), entry.file_name())));
        } else {
            let own = path.file_name().unwrap().to_owned();
            copied.push((path, if name.is_empty() { own } else { name.into() }));
        }
    }
    for (path, name) in &copied {
        let text = std::fs::read_to_string(path).unwrap();
        let text = text.replace("server edge:8081 resolve", "server 127.0.0.1:8081");
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    std::fs::create_dir(folder.path().join("tmp")).unwrap();
    let words: Vec<String> = [dockerfile.entrypoint("web"), dockerfile.command("web")]
        .concat()
        .iter()
        .map(|word| word.replace("/srv/nginx", &home))
        .collect();
    let nginx = ["/usr/sbin/nginx", "/usr/bin/nginx", "/usr/local/sbin/nginx"]
        .into_iter()
        .find(|path| Path::new(path).exists())
        .unwrap_or("nginx");
    let output = Command::new(nginx).args(&words[1..]).arg("-t").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.contains("test is successful"), "{said}");
    // `resolve` in an upstream came to nginx with 1.27.3.
    let images = dockerfile.images();
    let tag = images.iter().find_map(|image| image.strip_prefix("nginx:")).unwrap();
    let numbers: Vec<u32> =
        tag.split('-').next().unwrap().split('.').map(|n| n.parse().unwrap()).collect();
    assert!(numbers.as_slice() >= [1, 27, 3].as_slice(), "{tag}");
}
