//! How the private servers are run: configuration, command line, URL. Redis is `redis`'s affair.
//!
//! Invariant: every server listens on loopback only, with a password, on data of this stack.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::process::Command;
use tokio_postgres::NoTls;

use crate::data_dir::{DataDir, Settings};
use crate::find;
use crate::options::{Server, StackOptions};
use crate::process::{Ready, Spec};
use crate::redis;

/// User and database of the private servers.
const NAME: &str = "flashsale";
/// How long PostgreSQL may take to accept the first connection.
const POSTGRES_START_MAX: Duration = Duration::from_secs(30);

/// Ports a server needs, by purpose.
pub(crate) fn purposes(server: Server, options: &StackOptions) -> Vec<String> {
    let named = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    match server {
        Server::Redis => redis::purposes(options.redis_nodes),
        Server::Postgres => named(&["postgres"]),
        Server::RabbitMq => named(&["rabbitmq", "rabbitmq-dist", "epmd"]),
    }
}

/// Where a private server is reached.
pub(crate) fn url(server: Server, options: &StackOptions, settings: &Settings) -> String {
    match server {
        Server::Redis => redis::url(options.redis_nodes, settings),
        Server::RabbitMq => {
            let port = settings.ports["rabbitmq"];
            format!("amqp://{NAME}:{}@127.0.0.1:{port}/%2f", settings.password)
        }
        Server::Postgres => postgres_url(settings),
    }
}

fn postgres_url(settings: &Settings) -> String {
    let port = settings.ports["postgres"];
    format!("postgresql://{NAME}:{}@127.0.0.1:{port}/{NAME}", settings.password)
}

/// Writes the server's configuration and says how to run it; RabbitMQ comes with its port mapper.
pub(crate) async fn specs(
    server: Server,
    options: &StackOptions,
    dir: &DataDir,
    settings: &Settings,
) -> anyhow::Result<Vec<Spec>> {
    let mut specs = match server {
        Server::Redis => return redis::specs(options.redis_nodes, dir, settings),
        Server::RabbitMq => rabbitmq(dir, settings)?,
        Server::Postgres => vec![postgres(dir, settings).await?],
    };
    if let Some(main) = specs.last_mut() {
        main.url = url(server, options, settings);
    }
    Ok(specs)
}

fn rabbitmq(dir: &DataDir, settings: &Settings) -> anyhow::Result<Vec<Spec>> {
    let program = find::rabbitmq().context("rabbitmq-server is not installed")?;
    let epmd = find::epmd().context("epmd, of Erlang, is not installed")?;
    let data = dir.path("rabbitmq");
    fs::create_dir_all(&data)?;
    let port = |purpose: &str| settings.ports[purpose];
    let config = format!(
        "listeners.tcp.1 = 127.0.0.1:{}\ndefault_user = {NAME}\ndefault_pass = {}\n\
         loopback_users = none\nlog.console = true\nlog.console.level = warning\n\
         log.file = false\n",
        port("rabbitmq"),
        settings.password,
    );
    dir.write_secret("rabbitmq.conf", config.as_bytes())?;
    dir.write_secret("rabbitmq-env.conf", b"")?;
    dir.write_secret("enabled_plugins", b"[].\n")?;
    let at = |name: &str| dir.path(name).display().to_string();
    let home = data.display().to_string();
    let env = [
        ("HOME", home.clone()),
        ("RABBITMQ_NODENAME", format!("{}@localhost", settings.node)),
        ("RABBITMQ_DIST_PORT", port("rabbitmq-dist").to_string()),
        ("RABBITMQ_MNESIA_BASE", format!("{home}/mnesia")),
        ("RABBITMQ_LOG_BASE", format!("{home}/log")),
        ("RABBITMQ_PID_FILE", format!("{home}/pid")),
        ("ERL_CRASH_DUMP", format!("{home}/erl_crash.dump")),
        ("RABBITMQ_CONFIG_FILE", at("rabbitmq.conf")),
        ("RABBITMQ_CONF_ENV_FILE", at("rabbitmq-env.conf")),
        ("RABBITMQ_ENABLED_PLUGINS_FILE", at("enabled_plugins")),
        // The script then executes the broker instead of staying in front of it.
        ("RUNNING_UNDER_SYSTEMD", "1".to_owned()),
        ("ERL_EPMD_PORT", port("epmd").to_string()),
        ("ERL_EPMD_ADDRESS", "127.0.0.1".to_owned()),
        (
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
            "-kernel inet_dist_use_interface {127,0,0,1}".to_owned(),
        ),
    ];
    let mut broker = Spec::new("rabbitmq", program, Ready::Tcp(port("rabbitmq")));
    broker.env = env.map(|(name, value)| (name.to_owned(), value)).into();
    broker.grace = Duration::from_secs(20);
    let mut mapper = Spec::new("epmd", epmd, Ready::Tcp(port("epmd")));
    mapper.args =
        ["-address", "127.0.0.1", "-port", &port("epmd").to_string()].map(str::to_owned).into();
    mapper.listed = false;
    Ok(vec![mapper, broker])
}

async fn postgres(dir: &DataDir, settings: &Settings) -> anyhow::Result<Spec> {
    let data = dir.path("postgres");
    if !data.join("PG_VERSION").is_file() {
        create_cluster(dir, settings).await?;
    }
    let port = settings.ports["postgres"];
    let program = find::postgres("postgres").context("postgresql is not installed")?;
    let args = [
        "-D".to_owned(),
        data.display().to_string(),
        "-p".to_owned(),
        port.to_string(),
        "-c".to_owned(),
        "listen_addresses=127.0.0.1".to_owned(),
        // A path in a deep directory would exceed the 107 bytes of a Unix socket.
        "-c".to_owned(),
        "unix_socket_directories=".to_owned(),
        "-c".to_owned(),
        "max_connections=200".to_owned(),
    ];
    let (program, args) = as_unprivileged(program, args.into())?;
    let mut spec = Spec::new("postgres", program, Ready::Tcp(port));
    spec.args = args;
    Ok(spec)
}

async fn create_cluster(dir: &DataDir, settings: &Settings) -> anyhow::Result<()> {
    let initdb = find::postgres("initdb").context("postgresql is not installed")?;
    let data = dir.path("postgres");
    if data.exists() {
        fs::remove_dir_all(&data).context("removing a half-made database")?;
    }
    dir.write_secret("postgres.password", settings.password.as_bytes())?;
    let made = dir.path("postgres.new");
    if made.exists() {
        fs::remove_dir_all(&made)?;
    }
    fs::create_dir(&made)?;
    let password = dir.path("postgres.password");
    let args = [
        format!("--pgdata={}", made.display()),
        format!("--username={NAME}"),
        format!("--pwfile={}", password.display()),
        "--auth=scram-sha-256".to_owned(),
        "--encoding=UTF8".to_owned(),
        "--no-locale".to_owned(),
        "--no-instructions".to_owned(),
    ];
    give_to_unprivileged(&made)?;
    give_to_unprivileged(&password)?;
    let (program, args) = as_unprivileged(initdb, args.into())?;
    let output = Command::new(program).args(args).output().await.context("initdb")?;
    if !output.status.success() {
        bail!("initdb failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    // Renamed when complete, so that a start that was interrupted begins again.
    fs::rename(&made, &data).context("keeping the new database")
}

/// Creates the database in a private PostgreSQL that is starting.
pub(crate) async fn create_database(settings: &Settings) -> anyhow::Result<()> {
    let mut config: tokio_postgres::Config = postgres_url(settings).parse()?;
    config.dbname("postgres");
    let deadline = tokio::time::Instant::now() + POSTGRES_START_MAX;
    let (client, connection) = loop {
        match config.connect(NoTls).await {
            Ok(pair) => break pair,
            Err(error) if tokio::time::Instant::now() > deadline => {
                return Err(error).context("PostgreSQL does not accept connections");
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    };
    tokio::spawn(connection);
    let exists = "SELECT 1 FROM pg_database WHERE datname = 'flashsale'";
    if client.query_opt(exists, &[]).await?.is_none() {
        client.batch_execute("CREATE DATABASE flashsale").await?;
    }
    Ok(())
}

/// PostgreSQL refuses to run as root. In a user namespace it sees another user while files stay
/// root's, so the directory needs no other owner; where namespaces are off, `postgres` is used.
fn as_unprivileged(program: PathBuf, args: Vec<String>) -> anyhow::Result<(PathBuf, Vec<String>)> {
    if !rustix::process::geteuid().is_root() {
        return Ok((program, args));
    }
    let (wrapper, mut wrapped): (_, Vec<String>) = if user_namespaces_work() {
        let unshare = find::on_path("unshare").context("unshare, of util-linux, is missing")?;
        let flags = ["--user", "--map-user=1000", "--map-group=1000", "--"];
        (unshare, flags.map(str::to_owned).into())
    } else {
        let setpriv = find::on_path("setpriv").context("setpriv, of util-linux, is missing")?;
        let flags = ["--reuid=postgres", "--regid=postgres", "--init-groups", "--"];
        (setpriv, flags.map(str::to_owned).into())
    };
    wrapped.push(program.display().to_string());
    wrapped.extend(args);
    Ok((wrapper, wrapped))
}

fn user_namespaces_work() -> bool {
    let trial = std::process::Command::new("unshare")
        .args(["--user", "--map-user=1000", "--map-group=1000", "true"])
        .stderr(std::process::Stdio::null())
        .status();
    trial.is_ok_and(|status| status.success())
}

fn give_to_unprivileged(path: &std::path::Path) -> anyhow::Result<()> {
    if !rustix::process::geteuid().is_root() || user_namespaces_work() {
        return Ok(());
    }
    let status = std::process::Command::new("chown").arg("postgres:").arg(path).status()?;
    anyhow::ensure!(status.success(), "giving {} to user postgres failed", path.display());
    Ok(())
}
