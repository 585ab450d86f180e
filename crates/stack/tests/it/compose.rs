//! What compose starts, against the programs and files there are. No Docker is needed for it.
//!
//! Invariant: every path, port, variable, user and command in docker-compose.yml, the Dockerfile
//! and the files they mount is one that exists.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::{Map, Value};

use crate::dockerfile::{Dockerfile, read, root};
use crate::documents::{program, settings};
use crate::wait::wait_until;

fn compose() -> Value {
    serde_saphyr::from_str(&read("docker-compose.yml")).expect("docker-compose.yml is YAML")
}

fn services() -> Map<String, Value> {
    compose()["services"].as_object().unwrap().clone()
}

/// The strings of a list; empty when there is none.
fn strings(value: &Value) -> Vec<String> {
    let items = value.as_array().cloned().unwrap_or_default();
    items.iter().map(|item| item.as_str().unwrap_or_else(|| panic!("{item}")).to_owned()).collect()
}

/// The stage of the Dockerfile a service runs, unless it is somebody else's image.
fn target(service: &Value) -> Option<&str> {
    service["build"]["target"].as_str()
}

/// Services somebody waits for until they are done.
fn one_shots() -> BTreeSet<String> {
    let done = |(name, how): (&String, &Value)| {
        (how["condition"] == "service_completed_successfully").then(|| name.clone())
    };
    services()
        .values()
        .filter_map(|service| service["depends_on"].as_object())
        .flat_map(|waits| waits.iter().filter_map(done).collect::<Vec<_>>())
        .collect()
}

/// `${NAME:-default}` in a text.
fn variables(text: &str) -> BTreeMap<String, String> {
    let parts = text.split("${").skip(1).map(|rest| rest.split('}').next().unwrap());
    parts
        .map(|inside| inside.split_once(":-").unwrap_or_else(|| panic!("{inside}: no default")))
        .map(|(name, default)| (name.to_owned(), default.to_owned()))
        .collect()
}

/// The text compose reads where nothing is set.
fn with_defaults(text: &str) -> String {
    variables(text).iter().fold(text.to_owned(), |text, (name, default)| {
        text.replace(&format!("${{{name}:-{default}}}"), default)
    })
}

fn seconds(text: &Value) -> u64 {
    text.as_str().and_then(|s| s.strip_suffix('s')?.parse().ok()).unwrap_or_else(|| {
        panic!("{text} is no number of seconds");
    })
}

#[test]
fn every_service_is_locked_down_and_limited() {
    let dockerfile = Dockerfile::read();
    for (name, service) in services() {
        assert_eq!(service["read_only"], true, "{name}");
        assert_eq!(strings(&service["security_opt"]), ["no-new-privileges:true"], "{name}");
        assert_eq!(strings(&service["cap_drop"]), ["ALL"], "{name}");
        let memory = &service["deploy"]["resources"]["limits"]["memory"];
        assert!(memory.as_str().is_some_and(|m| m.ends_with(['m', 'g'])), "{name}: {memory}");
        let restart = if one_shots().contains(&name) { "no" } else { "unless-stopped" };
        assert_eq!(service["restart"], restart, "{name}");
        assert_eq!(service["healthcheck"].is_null(), one_shots().contains(&name), "{name}");
        let user = match target(&service) {
            Some(stage) => dockerfile.user(stage),
            None => service["user"].as_str().unwrap_or_default().to_owned(),
        };
        let first = user.split(':').next().unwrap();
        assert!(!first.is_empty() && !["root", "0"].contains(&first), "{name} runs as {user:?}");
    }
}

#[test]
fn every_image_is_named_by_an_exact_version() {
    let others = services();
    let images = others.values().filter_map(|service| service["image"].as_str());
    let stages = Dockerfile::read().images();
    let mut seen = 0;
    for image in images.map(str::to_owned).chain(stages) {
        let tag = image.split_once(':').unwrap_or_else(|| panic!("{image} has no tag")).1;
        let version = tag.trim_start_matches('v').split('-').next().unwrap();
        let numbers: Vec<_> = version.split('.').collect();
        // Debian numbers its point releases with two, everybody else here with three.
        let enough = if image.starts_with("debian:") { 2 } else { 3 };
        assert!(numbers.iter().all(|n| n.parse::<u32>().is_ok()), "{image}");
        assert!(numbers.len() >= enough || image.starts_with("postgres:"), "{image}");
        seen += 1;
    }
    assert!(seen > 6, "only {seen} images were found");
}

#[test]
fn only_the_shop_is_published_and_servers_are_out_of_reach() {
    assert_eq!(compose()["networks"]["inside"]["internal"], true);
    for (name, service) in services() {
        let (ports, networks) = (strings(&service["ports"]), strings(&service["networks"]));
        assert!(networks.contains(&"inside".to_owned()), "{name}");
        match name.as_str() {
            "nginx" => assert_eq!(ports, ["${HTTP_PORT:-80}:8080"]),
            "grafana" => assert_eq!(ports, ["127.0.0.1:3000:3000"]),
            _ => {
                assert_eq!(ports, [""; 0], "{name}");
                assert_eq!(networks, ["inside"], "{name}");
            }
        }
    }
}

#[test]
fn ports_agree_everywhere() {
    let dockerfile = Dockerfile::read();
    let edge = dockerfile.env("edge", "HTTP_ADDR");
    let settler = dockerfile.env("settler", "PROBE_ADDR");
    assert_eq!(edge, format!("0.0.0.0:{}", dockerfile.port("edge")));
    assert_eq!(settler, format!("0.0.0.0:{}", dockerfile.port("settler")));
    let default = |program: &str, name: &str| settings(program, &["run"])[name].clone();
    assert_eq!(default("edge", "HTTP_ADDR"), edge.replace("0.0.0.0", "127.0.0.1"));
    assert_eq!(default("settler", "PROBE_ADDR"), settler.replace("0.0.0.0", "127.0.0.1"));

    let upstreams = read("nginx/compose/upstreams.conf");
    let servers: Vec<_> =
        upstreams.lines().filter_map(|line| line.trim().strip_prefix("server ")).collect();
    let address = format!("edge:{}", dockerfile.port("edge"));
    assert_eq!(servers.len(), 3, "{upstreams}");
    assert!(servers.iter().all(|s| s.starts_with(&format!("{address} resolve "))), "{servers:?}");
    let listen = format!("\nlisten {} ", dockerfile.port("web"));
    assert!(read("nginx/compose/listen.conf").contains(&listen));

    let scraped: Value = serde_saphyr::from_str(&read("deploy/prometheus/prometheus.yml")).unwrap();
    for job in scraped["scrape_configs"].as_array().unwrap() {
        let Some(found) = job["dns_sd_configs"].as_array() else { continue };
        let name = job["job_name"].as_str().unwrap();
        assert_eq!(strings(&found[0]["names"]), [name]);
        assert_eq!(found[0]["port"].to_string(), dockerfile.port(name));
        assert!(services().contains_key(name));
    }
}

#[test]
fn every_setting_is_one_its_program_takes() {
    let ports = [("redis", "6379"), ("rabbitmq", "5672"), ("postgres", "5432")];
    let mut checked = 0;
    for (name, service) in services() {
        let Some(stage @ ("edge" | "settler")) = target(&service) else { continue };
        let mut command = strings(&service["command"]);
        if command.is_empty() {
            command = Dockerfile::read().command(stage);
        }
        let command: Vec<_> = command.iter().map(String::as_str).collect();
        let taken = settings(stage, &command);
        for (variable, value) in service["environment"].as_object().unwrap() {
            let value = value.as_str().unwrap_or_default();
            let ours = variable.ends_with("_URL") || taken.contains_key(variable);
            // The settler's short commands log nothing and need not know how.
            assert!(ours || variable.starts_with("LOG_"), "{name} takes no {variable}");
            if let (true, Some((_, host))) = (variable.ends_with("_URL"), value.rsplit_once('@')) {
                let address = host.split('/').next().unwrap();
                let known = ports.map(|(host, port)| format!("{host}:{port}"));
                assert!(known.contains(&address.to_owned()), "{name} {variable}: {address}");
                checked += 1;
            }
        }
    }
    assert_eq!(checked, 12);
}

/// Variables that are handed on when they are set, and are not there otherwise.
fn handed_on() -> BTreeSet<String> {
    let all = services();
    let environments = all.values().filter_map(|service| service["environment"].as_object());
    let absent = environments.flatten().filter(|(_, value)| value.is_null());
    absent.map(|(name, _)| name.clone()).collect()
}

/// A secret has no default; one that is empty, or that nobody set, is not there: an edge that is
/// given an empty one does not start.
#[test]
fn secrets_of_the_edges_are_handed_on_and_have_no_default() {
    let secrets = ["ADMIN_TOKEN", "ADMIN_TOKEN_FILE", "BUYER_TOKEN_KEY", "BUYER_TOKEN_KEY_FILE"];
    let edge = services()["edge"].clone();
    for name in secrets {
        assert_eq!(edge["environment"].get(name), Some(&Value::Null), "{name}");
    }
    let example = read(".env.example");
    let optional: BTreeMap<_, _> = example
        .lines()
        .filter_map(|line| line.strip_prefix('#')?.split_once('='))
        .filter(|(name, _)| name.chars().all(|c| c.is_ascii_uppercase() || c == '_'))
        .collect();
    let named: BTreeSet<String> = optional.keys().map(|name| (*name).to_owned()).collect();
    assert_eq!(named, handed_on(), "in a comment: what stands there is not the default");
    let mounts = strings(&edge["volumes"]);
    let (folder, inside) = mounts[0].trim_end_matches(":ro").split_once(':').unwrap();
    for name in secrets.iter().filter(|name| name.ends_with("_FILE")) {
        assert!(optional[name].starts_with(&format!("{inside}/")), "{name}: {}", optional[name]);
    }
    // What is put there is not committed, and no part of an image.
    let ignored = read(&format!("{}/.gitignore", folder.trim_start_matches("./")));
    assert_eq!(ignored.lines().collect::<Vec<_>>(), ["*", "!.gitignore"]);
    assert!(!read(".dockerignore").lines().any(|line| line.starts_with("!deploy")));
}

#[test]
fn the_example_of_settings_lists_exactly_what_compose_reads() {
    let example: BTreeMap<_, _> = read(".env.example")
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| line.split_once('=').unwrap())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    assert_eq!(variables(&read("docker-compose.yml")), example);
}

#[test]
fn whoever_is_waited_for_can_get_there() {
    let services = services();
    for (name, service) in &services {
        let Some(waits) = service["depends_on"].as_object() else { continue };
        for (other, how) in waits {
            let awaited = services.get(other).unwrap_or_else(|| panic!("{name} waits for {other}"));
            match how["condition"].as_str() {
                Some("service_healthy") => assert!(awaited["healthcheck"]["test"].is_array()),
                Some("service_completed_successfully") => assert_eq!(awaited["restart"], "no"),
                other => panic!("{name}: {other:?}"),
            }
        }
    }
}

#[test]
fn health_and_start_commands_are_ones_the_programs_have() {
    let dockerfile = Dockerfile::read();
    for (name, service) in services() {
        let Some(stage @ ("edge" | "settler")) = target(&service) else { continue };
        assert_eq!(dockerfile.entrypoint(stage), [stage]);
        let mut commands = vec![strings(&service["command"])];
        if commands[0].is_empty() {
            commands[0] = dockerfile.command(stage);
        }
        let health = strings(&service["healthcheck"]["test"]);
        if let [kind, asked, arguments @ ..] = health.as_slice() {
            assert_eq!((kind.as_str(), asked.as_str()), ("CMD", stage));
            commands.push(arguments.to_vec());
        }
        // What stands before the program, such as another scheduling policy.
        let mut before = strings(&service["entrypoint"]);
        assert!(before.pop().is_none_or(|last| last == stage), "{name}: another entrypoint");
        before.push(program(stage).display().to_string());
        for command in commands {
            let asked = Command::new(&before[0])
                .args(before[1..].iter().chain(&command))
                .arg("--help")
                .output()
                .unwrap();
            assert!(asked.status.success() && !command.is_empty(), "{name}: {stage} {command:?}");
        }
    }
    let shop = strings(&services()["nginx"]["healthcheck"]["test"]);
    assert!(shop.last().unwrap().contains(&format!(":{}/", dockerfile.port("web"))), "{shop:?}");
}

#[test]
fn what_is_stopped_has_the_time_it_takes() {
    for (name, variable) in
        [("edge", "EDGE_SHUTDOWN_GRACE_MS"), ("settler", "SETTLER_SHUTDOWN_GRACE_MS")]
    {
        let grace_ms: u64 = settings(name, &["run"])[variable].parse().unwrap();
        assert!(seconds(&services()[name]["stop_grace_period"]) * 1000 > grace_ms, "{name}");
    }
}

#[test]
fn every_volume_is_declared_and_every_mounted_file_is_there() {
    let declared: BTreeSet<String> =
        compose()["volumes"].as_object().unwrap().keys().cloned().collect();
    let mut used = BTreeSet::new();
    for (name, service) in services() {
        for volume in strings(&service["volumes"]) {
            let (source, _) = volume.split_once(":/").unwrap();
            match source.strip_prefix("./") {
                Some(path) => {
                    let path = with_defaults(path);
                    assert!(root().join(&path).exists(), "{name} mounts {path}");
                    assert!(volume.ends_with(":ro"), "{name} may write {path}");
                }
                None => drop(used.insert(source.to_owned())),
            }
        }
    }
    assert_eq!(used, declared);
}

/// What `ps` on the host and `docker inspect` show of a service besides its environment.
#[test]
fn no_command_line_carries_a_password() {
    for (name, service) in services() {
        for part in ["command", "entrypoint", "healthcheck", "labels", "build"] {
            let text = service[part].to_string();
            assert!(!text.contains("PASSWORD") && !text.contains("_URL"), "{name} {part}: {text}");
        }
    }
}

/// The very command of the service, where it may listen and write here.
#[tokio::test]
async fn redis_starts_as_compose_starts_it_and_shows_no_password() {
    let folder = tempfile::tempdir().unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let here = format!("redis-server - --dir {} --port {port} ", folder.path().display());
    let words = strings(&services()["redis"]["command"]);
    let words = words.iter().map(|w| w.replace("redis-server - ", &here).replace("$$", "$"));
    let words: Vec<String> = words.collect();
    let mut command = tokio::process::Command::new(&words[0]);
    command.args(&words[1..]).env("REDISCLI_AUTH", "hush4711").kill_on_drop(true);
    let redis = command.stdout(std::process::Stdio::null()).spawn().unwrap();
    let ask = |password: &str, asked: &'static [&'static str]| {
        let mut cli = Command::new("redis-cli");
        cli.args(["-p", &port.to_string()]).args(asked).env("REDISCLI_AUTH", password);
        String::from_utf8_lossy(&cli.output().unwrap().stdout).into_owned()
    };
    wait_until("redis answers", || async { ask("hush4711", &["ping"]) == "PONG\n" }).await;
    assert!(ask("", &["ping"]).contains("NOAUTH"));
    for (setting, value) in
        [("appendonly", "yes"), ("maxmemory-policy", "noeviction"), ("maxmemory", "805306368")]
    {
        let said = ask("hush4711", &["config", "get", "*"]);
        assert!(said.contains(&format!("{setting}\n{value}\n")), "{setting}: {said}");
    }
    let line = std::fs::read(format!("/proc/{}/cmdline", redis.id().unwrap())).unwrap();
    let line = String::from_utf8_lossy(&line);
    assert!(line.starts_with("redis-server") && !line.contains("hush4711"), "{line}");
}
