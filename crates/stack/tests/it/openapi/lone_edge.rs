//! An edge whose servers are all away: it has nothing to answer with.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use crate::buyer::get;
use crate::documents::program;
use crate::wait::wait_until;

/// The edge.
pub(crate) struct LoneEdge {
    process: Child,
    pub(crate) url: String,
}

impl LoneEdge {
    /// Starts one with this environment, too.
    pub(crate) fn start(env: &[(&str, &str)]) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new(program("edge"));
        command
            .arg("run")
            .env("HTTP_ADDR", format!("127.0.0.1:{port}"))
            .env("REDIS_URL", "redis://127.0.0.1:1")
            .env("AMQP_URL", "amqp://127.0.0.1:1/%2f")
            .env("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
            .envs(env.iter().copied())
            .stderr(Stdio::null());
        Self { process: command.spawn().unwrap(), url: format!("http://127.0.0.1:{port}") }
    }

    pub(crate) async fn wait_serving(&self) {
        wait_until("a lone edge serves", || async { get(&self.url, "/livez").await.is_some() })
            .await;
    }
}

impl Drop for LoneEdge {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
