//! How nginx, edges and settlers are run.
//!
//! Invariant: nginx reads the same files here and under compose; only the generated includes
//! (listen, upstreams, root, proxies) and the choice of limits differ.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;

use crate::data_dir::{DataDir, Settings};
use crate::find;
use crate::options::{Limits, StackOptions};
use crate::process::{Ready, Spec};

const NGINX_FILES: [(&str, &str); 4] = [
    ("nginx.conf", include_str!("../../../nginx/nginx.conf")),
    ("site.conf", include_str!("../../../nginx/site.conf")),
    ("proxy.conf", include_str!("../../../nginx/proxy.conf")),
    ("socket.conf", include_str!("../../../nginx/socket.conf")),
];

/// Environment variables the stack reads for itself and its programs must not.
const OWN_VARIABLES: [&str; 7] =
    ["HTTP_PORT", "STACK_DIR", "STOCK", "EDGES", "SETTLERS", "LIMITS", "HTTP_ADDR"];

/// URLs of the three servers, as programs are given them.
#[derive(Debug, Clone, Default)]
pub(crate) struct ServerUrls {
    pub(crate) redis: String,
    pub(crate) amqp: String,
    pub(crate) database: String,
}

impl ServerUrls {
    /// The environment that names them.
    pub(crate) fn env(&self) -> Vec<(String, String)> {
        [("REDIS_URL", &self.redis), ("AMQP_URL", &self.amqp), ("DATABASE_URL", &self.database)]
            .map(|(name, url)| (name.to_owned(), url.clone()))
            .into()
    }
}

/// One edge, or what runs in its place.
pub(crate) fn edge(
    number: usize,
    settings: &Settings,
    urls: &ServerUrls,
    instead: &Option<(PathBuf, Vec<String>)>,
) -> anyhow::Result<Spec> {
    let name = format!("edge-{number}");
    let port = settings.ports[&name];
    let (program, args) = match instead {
        Some(instead) => instead.clone(),
        None => (find::program("edge")?, vec!["run".to_owned()]),
    };
    let (program, args) = in_batches(program, args);
    let mut spec = Spec::new(&name, program, Ready::Readyz(port));
    spec.url = format!("http://127.0.0.1:{port}");
    spec.args = args;
    spec.env_remove = OWN_VARIABLES.into();
    spec.env = urls.env();
    spec.env.push(("HTTP_ADDR".to_owned(), format!("127.0.0.1:{port}")));
    spec.env.push(("INSTANCE_NAME".to_owned(), name));
    spec.grace = Duration::from_secs(12);
    Ok(spec)
}

/// The program under SCHED_BATCH (sched(7)), as compose runs it: waking it does not interrupt
/// whoever works on that core, and it then finds more to do at once (perf/RESULTS.md). As it is
/// where that is not allowed.
fn in_batches(program: PathBuf, args: Vec<String>) -> (PathBuf, Vec<String>) {
    let Some(chrt) = find::chrt() else { return (program, args) };
    let own = ["--batch".to_owned(), "0".to_owned(), program.display().to_string()];
    (chrt, own.into_iter().chain(args).collect())
}

/// One settler.
pub(crate) fn settler(
    number: usize,
    settings: &Settings,
    urls: &ServerUrls,
) -> anyhow::Result<Spec> {
    let name = format!("settler-{number}");
    let port = settings.ports[&name];
    let mut spec = Spec::new(&name, find::program("settler")?, Ready::Readyz(port));
    spec.url = format!("http://127.0.0.1:{port}");
    spec.args = vec!["run".to_owned()];
    spec.env_remove = OWN_VARIABLES.into();
    spec.env = urls.env();
    spec.env.push(("PROBE_ADDR".to_owned(), format!("127.0.0.1:{port}")));
    spec.env.push(("INSTANCE_NAME".to_owned(), name));
    spec.grace = Duration::from_secs(12);
    Ok(spec)
}

/// nginx in front of the edges.
pub(crate) fn nginx(
    options: &StackOptions,
    http_port: u16,
    dir: &DataDir,
    settings: &Settings,
) -> anyhow::Result<Spec> {
    let program = find::on_path("nginx").context("nginx is not installed")?;
    let folder = dir.path("nginx");
    fs::create_dir_all(folder.join("tmp"))?;
    for (name, text) in NGINX_FILES {
        fs::write(folder.join(name), text)?;
    }
    let ports: Vec<u16> =
        (1..=options.edges).map(|n| settings.ports[&format!("edge-{n}")]).collect();
    fs::write(folder.join("upstreams.conf"), upstreams(&ports, options.requests_an_edge))?;
    fs::write(folder.join("limits.conf"), limits(options.limits))?;
    fs::write(folder.join("proxies.conf"), proxies(&options.known_proxies))?;
    fs::write(folder.join("listen.conf"), listen(http_port))?;
    let public = find::project_root().join("public");
    fs::write(folder.join("root.conf"), format!("root \"{}\";\n", public.display()))?;
    let mut globals = format!(
        "daemon off; pid \"{}\"; error_log stderr warn;",
        folder.join("nginx.pid").display()
    );
    if rustix::process::geteuid().is_root() {
        // Workers must be able to read below this directory, which is root's.
        globals.push_str(" user root;");
    }
    let mut spec = Spec::new("nginx", program, Ready::Tcp(http_port));
    spec.url = format!("http://127.0.0.1:{http_port}");
    spec.args = [
        "-p".to_owned(),
        format!("{}/", folder.display()),
        "-c".to_owned(),
        folder.join("nginx.conf").display().to_string(),
        "-e".to_owned(),
        "stderr".to_owned(),
        "-g".to_owned(),
        globals,
    ]
    .into();
    Ok(spec)
}

/// That of compose, on a port of loopback.
fn listen(port: u16) -> String {
    include_str!("../../../nginx/compose/listen.conf")
        .replace("listen 8080 ", &format!("listen 127.0.0.1:{port} "))
}

const fn limits(limits: Limits) -> &'static str {
    match limits {
        Limits::Off => include_str!("../../../nginx/limits/off.conf"),
        Limits::On => include_str!("../../../nginx/limits/on.conf"),
    }
}

/// Who may say whom it passes on. As `nginx/compose/proxies.conf` shows.
fn proxies(known: &[String]) -> String {
    let from: String = known.iter().map(|proxy| format!("set_real_ip_from {proxy};\n")).collect();
    format!("{from}real_ip_header X-Forwarded-For;\nreal_ip_recursive on;\n")
}

/// The two upstream blocks: short requests, and WebSockets, which stay. As in `nginx/compose`,
/// which says why each edge is a backup too.
fn upstreams(ports: &[u16], requests_max: u32) -> String {
    // One failed connect must not take an edge out for longer than its restart.
    let servers = |parameters: &str| -> String {
        ports.iter().map(|port| format!("    server 127.0.0.1:{port} {parameters};\n")).collect()
    };
    let requests = servers(&format!("max_conns={requests_max} max_fails=1 fail_timeout=1s"))
        + &servers("backup max_conns=64 max_fails=0");
    let sockets = servers("max_fails=1 fail_timeout=1s");
    format!(
        "upstream edge {{\n    zone edge 256k;\n{requests}    keepalive 4096;\n    \
         keepalive_timeout 20s;\n}}\n\
         upstream edge_ws {{\n    zone edge_ws 256k;\n    least_conn;\n{sockets}}}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nginx_listens_on_loopback_alone_and_otherwise_as_in_compose() {
        let text = listen(4000);
        let directives: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(directives, ["listen 127.0.0.1:4000 sndbuf=64k;"]);
    }

    #[test]
    fn both_upstreams_name_every_edge() {
        let text = upstreams(&[4001, 4002], 2048);
        assert_eq!(text.matches("127.0.0.1:4001").count(), 3);
        assert_eq!(text.matches("127.0.0.1:4002").count(), 3);
        assert_eq!(text.matches("max_conns=2048").count(), 2, "requests are bounded, sockets stay");
        assert_eq!(text.matches("backup max_conns=64").count(), 2);
        assert!(text.contains("keepalive 4096;") && text.contains("least_conn;"));
    }
}
