//! The whole path over TLS: Redis, RabbitMQ and PostgreSQL with certificates of a local authority.

use std::path::Path;
use std::process::{Child, Command};

use stack::{Server, Stack, StackOptions};

use crate::buyer::{Ledger, buy, get};
use crate::wait::wait_until;

fn openssl(folder: &Path, line: &str) {
    let mut command = Command::new("openssl");
    command.args(line.split(' ').filter(|word| !word.is_empty())).current_dir(folder);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
}

/// An authority `NAME.pem`.
fn authority(folder: &Path, name: &str) {
    let subject = format!("-subj /CN={name} -addext basicConstraints=critical,CA:TRUE");
    openssl(
        folder,
        &format!(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 \
                  -keyout {name}.key -out {name}.pem {subject}"
        ),
    );
}

/// A certificate `server.pem` for 127.0.0.1 alone, signed by the authority `ca`.
fn server_certificate(folder: &Path) {
    openssl(
        folder,
        "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout server.key \
         -out server.csr -subj /CN=server",
    );
    std::fs::write(folder.join("san"), "subjectAltName=IP:127.0.0.1\n").unwrap();
    openssl(
        folder,
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 1 \
         -extfile san -out server.pem",
    );
}

struct KilledAtLast(Child);

impl Drop for KilledAtLast {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// URLs of the three servers over TLS.
struct Urls {
    redis: String,
    amqp: String,
    database: String,
}

/// Turns TLS on in servers that run.
async fn secure(servers: &Stack, folder: &Path) -> Urls {
    let at = |name: &str| folder.join(name).display().to_string();
    let (redis_port, amqp_port) = (free_port(), free_port());
    let client = redis::Client::open(servers.redis_url()).unwrap();
    let mut redis = client.get_multiplexed_async_connection().await.unwrap();
    redis::cmd("CONFIG")
        .arg("SET")
        .arg(&["tls-cert-file", &at("server.pem"), "tls-key-file", &at("server.key")])
        .arg(&["tls-ca-cert-file", &at("ca.pem"), "tls-auth-clients", "no"])
        .arg("tls-port")
        .arg(redis_port)
        .exec_async(&mut redis)
        .await
        .unwrap();
    let ledger = Ledger::open(servers).await;
    for (name, value) in [
        ("ssl_cert_file", at("server.pem")),
        ("ssl_key_file", at("server.key")),
        ("ssl", "on".into()),
    ] {
        ledger.execute(&format!("ALTER SYSTEM SET {name} = '{value}'")).await;
    }
    ledger.execute("SELECT pg_reload_conf()").await;

    let path = servers.dir().join("rabbitmq.conf");
    let config = std::fs::read_to_string(&path).unwrap();
    let more = format!(
        "listeners.ssl.1 = 127.0.0.1:{amqp_port}\nssl_options.cacertfile = {}\n\
         ssl_options.certfile = {}\nssl_options.keyfile = {}\n",
        at("ca.pem"),
        at("server.pem"),
        at("server.key")
    );
    std::fs::write(&path, config + &more).unwrap();
    servers.stop("rabbitmq").await.unwrap();
    servers.resume("rabbitmq").await.unwrap();
    servers.wait_ready().await.unwrap();

    let to_port = |url: &str, port: u16| {
        let (start, rest) = url.rsplit_once(':').unwrap();
        format!("{start}:{port}/{}", rest.split_once('/').unwrap().1)
    };
    Urls {
        redis: to_port(servers.redis_url(), redis_port).replace("redis://", "rediss://"),
        amqp: to_port(servers.amqp_url(), amqp_port).replace("amqp://", "amqps://"),
        database: format!("{}?sslmode=verify-full", servers.database_url()),
    }
}

fn options(urls: &Urls, authority: &Path) -> StackOptions {
    StackOptions {
        edges: 1,
        redis_url: Some(urls.redis.clone()),
        amqp_url: Some(urls.amqp.clone()),
        database_url: Some(urls.database.clone()),
        env: vec![("SSL_CERT_FILE".to_owned(), authority.display().to_string())],
        ..StackOptions::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_goes_the_whole_way_over_tls_and_a_stranger_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    authority(folder.path(), "ca");
    authority(folder.path(), "stranger");
    server_certificate(folder.path());
    let servers = Stack::start(StackOptions::servers(&Server::ALL)).await.unwrap();
    let urls = secure(&servers, folder.path()).await;

    let shop = Stack::start(options(&urls, &folder.path().join("ca.pem"))).await.unwrap();
    let accepted = buy(shop.http(), 1).await.unwrap();
    assert_eq!(accepted.status, 202);
    let url = accepted.text("status_url").to_owned();
    wait_until("the order is confirmed", || async {
        get(shop.http(), &url).await.unwrap().text("status") == "confirmed"
    })
    .await;
    let ledger = Ledger::open(&servers).await;
    let plain = "SELECT count(*) FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid) \
                 WHERE a.application_name ~ '^(edge|settler)' AND NOT s.ssl";
    assert_eq!(ledger.number(plain).await, 0, "a connection to PostgreSQL is not encrypted");
    shop.shutdown().await;

    // An edge that trusts somebody else reaches nothing, and says why.
    let port = free_port();
    let log = folder.path().join("edge.log");
    let edge = Command::new(crate::documents::program("edge"))
        .arg("run")
        .env("HTTP_ADDR", format!("127.0.0.1:{port}"))
        .env("REDIS_URL", &urls.redis)
        .env("AMQP_URL", &urls.amqp)
        .env("DATABASE_URL", &urls.database)
        .env("SSL_CERT_FILE", folder.path().join("stranger.pem"))
        .stderr(std::fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let _edge = KilledAtLast(edge);
    wait_until("every connection is refused for its certificate", || async {
        let said = std::fs::read_to_string(&log).unwrap();
        said.lines().filter(|line| line.contains("UnknownIssuer")).count() >= 3
    })
    .await;
    let edge = format!("http://127.0.0.1:{port}");
    wait_until("the edge listens, although everything is missing", || async {
        get(&edge, "/readyz").await.is_some()
    })
    .await;
    let report = get(&edge, "/readyz?verbose").await.unwrap();
    assert_eq!(report.status, 503);
    let report = report.body.as_str().unwrap().to_owned();
    for part in ["broker missing", "redis missing", "database missing"] {
        assert!(report.contains(part), "{part}: {report}");
    }
    servers.shutdown().await;
}
