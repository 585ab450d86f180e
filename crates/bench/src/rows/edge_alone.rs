//! One more edge beside those that run: how soon it is ready, and what it holds in memory.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use tokio::process::{Child, Command};

use crate::accounting::resident_bytes;
use crate::http::{self, Connection};
use crate::lab::{Lab, PLENTY};
use crate::row::{Bound, Row};
use crate::system::{Claimed, System};

/// Starts; the median counts.
const STARTS: usize = 7;
/// Longest time to be ready.
const READY_MAX: Duration = Duration::from_secs(10);
/// Kept connections.
const CONNECTIONS: usize = 1000;
/// Mebibytes an edge may hold.
const RESIDENT_MAX: f64 = 32.0;
/// What one mebibyte has.
const MEBIBYTE: f64 = 1_048_576.0;

/// Starts an edge some times and looks at the last.
///
/// # Errors
/// When something does not start or answer.
pub(crate) async fn rows(lab: &mut Lab) -> anyhow::Result<Vec<Row>> {
    let first_user = lab.users();
    let system = lab.system().await?;
    let product = system.sell(PLENTY).await?;
    let mut row = Row::new("edge-alone", format!("{STARTS} starts"));
    let mut starts = Vec::new();
    for _ in 1..STARTS {
        starts.push(start(system).await?.2);
    }
    let (edge, address, last) = start(system).await?;
    starts.push(last);
    starts.sort_by(f64::total_cmp);
    row.goal("start to ready, median ms", Bound::AtMost(150.0), starts[STARTS / 2]);
    row.fact("start to ready, slowest ms", starts[STARTS - 1]);

    let pid = edge.id().context("the edge runs")?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    row.goal("resident MiB, idle", Bound::AtMost(RESIDENT_MAX), mebibytes(pid));
    let mut kept = Vec::new();
    let mut user = first_user;
    for _ in 0..CONNECTIONS {
        let mut connection = Connection::open(address).await?;
        user += 1;
        let status = connection.buy(user, product).await?.status;
        ensure!(status == 202, "a buyer was answered {status}");
        kept.push(connection);
    }
    let reached = mebibytes(pid);
    row.goal("resident MiB, 1,000 connections", Bound::AtMost(RESIDENT_MAX), reached);
    system.wait_settled(&[product]).await?.context("not everything is settled")?;
    let claimed = Claimed { accepted: CONNECTIONS as u64, unseen: 0 };
    system.check(&mut row, &[product], claimed).await?;
    Ok(vec![row])
}

#[expect(clippy::cast_precision_loss, reason = "bytes far below 2^53")]
fn mebibytes(pid: u32) -> f64 {
    resident_bytes(pid) as f64 / MEBIBYTE
}

/// Starts an edge, which is killed when dropped; where it listens, and the milliseconds until it
/// was ready.
async fn start(system: &System) -> anyhow::Result<(Child, SocketAddr, f64)> {
    let program = std::env::current_exe()?.with_file_name("edge");
    // Free a moment ago: nobody else on loopback takes it that soon.
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    drop(listener);
    let started = Instant::now();
    let edge = Command::new(program)
        .arg("run")
        .env("HTTP_ADDR", address.to_string())
        .env("REDIS_URL", system.stack.redis_url())
        .env("AMQP_URL", system.stack.amqp_url())
        .env("DATABASE_URL", system.stack.database_url())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .context("starting an edge")?;
    while !http::get(address, "/readyz").await.is_ok_and(|answer| answer.status == 200) {
        ensure!(started.elapsed() < READY_MAX, "an edge is not ready in time");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok((edge, address, started.elapsed().as_secs_f64() * 1000.0))
}
