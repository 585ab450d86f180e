//! Runs `rabbitmqctl` against the stack's own node.
//!
//! Invariant: like the node, the tool listens on loopback only and finds it through the stack's own
//! port mapper.

use anyhow::{Context, bail};
use tokio::process::Command;

use crate::find;
use crate::options::Server;
use crate::stack::Stack;

/// What tells the tool which node it talks to; the rest of the broker's environment is its own.
const VARIABLES: [&str; 5] =
    ["HOME", "RABBITMQ_NODENAME", "ERL_EPMD_PORT", "RABBITMQ_CONF_ENV_FILE", "ERL_CRASH_DUMP"];

impl Stack {
    /// Runs `rabbitmqctl` with these arguments; what it printed.
    ///
    /// # Errors
    /// When the stack has no RabbitMQ of its own, or the command fails.
    pub async fn rabbitmqctl(&self, args: &[&str]) -> anyhow::Result<String> {
        let broker = self.environment_of(Server::RabbitMq.process_name())?;
        let program = find::rabbitmq().context("rabbitmq-server is not installed")?;
        let env = broker.iter().filter(|(name, _)| VARIABLES.contains(&name.as_str()));
        let output = Command::new(program.with_file_name("rabbitmqctl"))
            .args(args)
            .envs(env.map(|(name, value)| (name, value)))
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_CTL_ERL_ARGS", "-kernel inet_dist_use_interface {127,0,0,1}")
            .stdin(std::process::Stdio::null())
            .output()
            .await
            .context("running rabbitmqctl")?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("`rabbitmqctl {}` failed: {said}", args.join(" "));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}
