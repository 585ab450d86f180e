//! How the command line talks to a running stack: one JSON line each way over loopback TCP.
//!
//! A port and a random token stand in `control.json`, which only the owner can read; a Unix socket
//! would not do, its path is limited to 107 bytes.
//! Invariant: a request without the token is not answered.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use crate::stack::{Stack, Status};

/// The longest request or answer, in bytes.
const LINE_BYTES_MAX: u64 = 1 << 20;
/// A stop may wait for a process's whole grace period.
const ANSWER_MAX: Duration = Duration::from_secs(60);
const FILE: &str = "control.json";

#[derive(Debug, Serialize, Deserialize)]
struct Address {
    port: u16,
    token: String,
}

/// What can be asked.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub(crate) enum Request {
    Status,
    Urls,
    Stop { name: String },
    Start { name: String },
    Kill { name: String, signal: String },
    Down,
}

/// What is answered.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    Done,
    Status(Status),
    Urls { database: String },
    Failed(String),
}

#[derive(Debug, Serialize, Deserialize)]
struct Envelope {
    token: String,
    request: Request,
}

/// Answers requests for `stack` until the returned task is dropped; `down` is notified by `Down`.
pub(crate) async fn serve(stack: Arc<Stack>, down: Arc<Notify>) -> anyhow::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let token = uuid::Uuid::now_v7().simple().to_string() + &random_hex();
    let address = Address { port: listener.local_addr()?.port(), token: token.clone() };
    stack.write_secret(FILE, &serde_json::to_vec(&address)?)?;
    tokio::spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            let (stack, down, token) = (stack.clone(), down.clone(), token.clone());
            tokio::spawn(async move {
                // A client that breaks off is of no interest.
                let _ = answer(stream, &stack, &down, &token).await;
            });
        }
    });
    Ok(())
}

/// 64 bits the operating system chose.
fn random_hex() -> String {
    use std::hash::{BuildHasher, Hasher};
    format!("{:016x}", std::hash::RandomState::new().build_hasher().finish())
}

async fn answer(
    mut stream: TcpStream,
    stack: &Stack,
    down: &Notify,
    token: &str,
) -> anyhow::Result<()> {
    let (read, mut write) = stream.split();
    let mut line = String::new();
    BufReader::new(read.take(LINE_BYTES_MAX)).read_line(&mut line).await?;
    let envelope: Envelope = serde_json::from_str(&line)?;
    anyhow::ensure!(envelope.token == token, "wrong token");
    let done = |result: anyhow::Result<()>| match result {
        Ok(()) => Answer::Done,
        Err(error) => Answer::Failed(error.to_string()),
    };
    let answer = match envelope.request {
        Request::Status => Answer::Status(stack.status()),
        Request::Urls => Answer::Urls { database: stack.database_url().to_owned() },
        Request::Stop { name } => done(stack.stop(&name).await),
        Request::Start { name } => done(stack.resume(&name).await),
        Request::Kill { name, signal } => done(stack.kill(&name, &signal).await),
        Request::Down => {
            down.notify_one();
            Answer::Done
        }
    };
    let mut text = serde_json::to_vec(&answer)?;
    text.push(b'\n');
    write.write_all(&text).await?;
    Ok(())
}

/// Asks the stack that runs in `dir`.
///
/// # Errors
/// When no stack runs there, or it refuses.
pub(crate) async fn ask(dir: &Path, request: Request) -> anyhow::Result<Answer> {
    let Some(mut stream) = connect(dir).await else {
        bail!("no stack runs in {}: start one with `make run`", dir.display());
    };
    let address: Address = serde_json::from_slice(&std::fs::read(dir.join(FILE))?)?;
    let mut text = serde_json::to_vec(&Envelope { token: address.token, request })?;
    text.push(b'\n');
    stream.write_all(&text).await?;
    let mut line = String::new();
    let read = BufReader::new(stream.take(LINE_BYTES_MAX)).read_line(&mut line).await;
    read.context("the stack broke off")?;
    match serde_json::from_str(&line).context("the stack broke off")? {
        Answer::Failed(message) => bail!(message),
        answer => Ok(answer),
    }
}

/// Whether a stack runs in `dir`.
pub(crate) async fn is_running(dir: &Path) -> bool {
    connect(dir).await.is_some()
}

async fn connect(dir: &Path) -> Option<TcpStream> {
    let address: Address = serde_json::from_slice(&std::fs::read(dir.join(FILE)).ok()?).ok()?;
    let connect = TcpStream::connect(("127.0.0.1", address.port));
    tokio::time::timeout(ANSWER_MAX, connect).await.ok()?.ok()
}
