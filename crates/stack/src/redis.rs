//! How the private Redis is run: one node, or the primaries of a Redis Cluster.
//!
//! Owns configuration, ports and URLs of both, and joining the nodes of a cluster, in the inline
//! form of Redis's own protocol. Invariant: every node listens on loopback only, with a password,
//! and has what a settler checks before it vouches.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::data_dir::{DataDir, Settings};
use crate::find;
use crate::process::{Ready, Spec};

/// Slots of every cluster.
const SLOTS: usize = 16_384;
/// How long the nodes may take to agree.
const JOIN_MAX: Duration = Duration::from_secs(30);
/// How long a node may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// How often the nodes are asked whether they agree.
const POLL: Duration = Duration::from_millis(50);

/// Names of the nodes.
fn names(nodes: usize) -> Vec<String> {
    if nodes == 1 {
        return vec!["redis".to_owned()];
    }
    (1..=nodes).map(|number| format!("redis-{number}")).collect()
}

fn bus(name: &str) -> String {
    format!("{name}-bus")
}

/// Ports so many nodes need, by purpose.
pub(crate) fn purposes(nodes: usize) -> Vec<String> {
    let names = names(nodes);
    let buses = names.iter().filter(|_| nodes > 1).map(|name| bus(name));
    buses.chain(names.clone()).collect()
}

/// Where so many nodes are reached.
pub(crate) fn url(nodes: usize, settings: &Settings) -> String {
    if nodes == 1 {
        return node_url("redis", settings);
    }
    let addresses: Vec<_> =
        names(nodes).iter().map(|name| format!("127.0.0.1:{}", settings.ports[name])).collect();
    format!("redis+cluster://default:{}@{}", settings.password, addresses.join(","))
}

fn node_url(name: &str, settings: &Settings) -> String {
    // Named, as `redis-cli -u` would log in as nobody otherwise.
    format!("redis://default:{}@127.0.0.1:{}/0", settings.password, settings.ports[name])
}

/// Writes the configuration of every node and says how to run it.
pub(crate) fn specs(nodes: usize, dir: &DataDir, settings: &Settings) -> anyhow::Result<Vec<Spec>> {
    let program = find::on_path("redis-server").context("redis-server is not installed")?;
    let mut specs = Vec::with_capacity(nodes);
    for name in names(nodes) {
        let (data, port) = (dir.path(&name), settings.ports[&name]);
        std::fs::create_dir_all(&data)?;
        // noeviction and the append-only file are what a settler checks before it vouches. The file
        // is rewritten late: a rewrite in the middle of a sale takes the buyers' time.
        let mut config = format!(
            "bind 127.0.0.1\nport {port}\nrequirepass {}\ndir \"{}\"\nsave \"\"\nappendonly yes\n\
             appendfsync everysec\nauto-aof-rewrite-min-size 1gb\n\
             maxmemory-policy noeviction\ndaemonize no\n",
            settings.password,
            data.display(),
        );
        if nodes > 1 {
            // Without the last line the other nodes would stop selling when one is away.
            config.push_str(&format!(
                "cluster-enabled yes\ncluster-port {}\ncluster-node-timeout 2000\n\
                 cluster-require-full-coverage no\n",
                settings.ports[&bus(&name)]
            ));
        }
        let file = format!("{name}.conf");
        dir.write_secret(&file, config.as_bytes())?;
        let mut spec = Spec::new(&name, program.clone(), Ready::Tcp(port));
        spec.args = vec![dir.path(&file).display().to_string()];
        spec.url = node_url(&name, settings);
        specs.push(spec);
    }
    Ok(specs)
}

/// Makes running nodes one cluster, unless they are; each is given as many slots as the next.
pub(crate) async fn join(nodes: usize, settings: &Settings) -> anyhow::Result<()> {
    let names = names(nodes);
    if nodes == 1 {
        return Ok(());
    }
    if !told(&ask(&names[0], settings, "CLUSTER INFO").await?, "cluster_slots_assigned", SLOTS) {
        for (number, name) in names.iter().enumerate() {
            let (first, last) = (SLOTS * number / nodes, SLOTS * (number + 1) / nodes - 1);
            ask(name, settings, &format!("CLUSTER ADDSLOTSRANGE {first} {last}")).await?;
            if number > 0 {
                let (port, bus) = (settings.ports[name], settings.ports[&bus(name)]);
                ask(&names[0], settings, &format!("CLUSTER MEET 127.0.0.1 {port} {bus}")).await?;
            }
        }
    }
    let agreed = async {
        for name in &names {
            loop {
                let info = ask(name, settings, "CLUSTER INFO").await?;
                let is_ok = info.contains("cluster_state:ok");
                if is_ok && told(&info, "cluster_slots_assigned", SLOTS) {
                    break;
                }
                tokio::time::sleep(POLL).await;
            }
        }
        Ok(())
    };
    let waited = tokio::time::timeout(JOIN_MAX, agreed).await;
    waited.unwrap_or_else(|_| bail!("the nodes of Redis do not become a cluster"))
}

/// Whether CLUSTER INFO says this number.
fn told(info: &str, field: &str, number: usize) -> bool {
    info.lines().any(|line| line.trim_end() == format!("{field}:{number}"))
}

/// What a node answers to one command.
async fn ask(name: &str, settings: &Settings, command: &str) -> anyhow::Result<String> {
    let answer = tokio::time::timeout(ANSWER_MAX, send(name, settings, command)).await;
    let answer = answer.with_context(|| format!("{name} does not answer"))??;
    ensure!(!answer.contains("-ERR"), "{name} answers {command:?} with {answer}");
    Ok(answer)
}

async fn send(name: &str, settings: &Settings, command: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", settings.ports[name])).await?;
    let text = format!("AUTH default {}\r\n{command}\r\nQUIT\r\n", settings.password);
    stream.write_all(text.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_node_is_named_as_such_and_several_as_a_cluster() {
        let mut settings = Settings { password: "p".into(), ..Settings::default() };
        for (port, purpose) in (7000..).zip(["redis", "redis-1", "redis-2"]) {
            settings.ports.insert(purpose.to_owned(), port);
        }
        assert_eq!(url(1, &settings), "redis://default:p@127.0.0.1:7000/0");
        let cluster = "redis+cluster://default:p@127.0.0.1:7001,127.0.0.1:7002";
        assert_eq!(url(2, &settings), cluster);
        assert_eq!(purposes(1), ["redis"]);
        assert_eq!(purposes(2), ["redis-1-bus", "redis-2-bus", "redis-1", "redis-2"]);
    }
}
