//! Installs the servers that are missing, on Debian and Ubuntu; for tests a browser, too, and for
//! the bench its load generators. What Debian does not have is left to `wheels`.
//!
//! Invariant: no service of what is installed here runs or is enabled afterwards, and no default
//! PostgreSQL cluster is left behind. Elsewhere, or without rights, nothing is changed and the one
//! command to paste is printed.

use std::io::IsTerminal;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use crate::requirements::{For, Found, Source, TOOLS, Tool};
use crate::{find, wheels};

/// Denies the start of services while packages are installed (Debian Policy, 9.3.3.1).
const POLICY: &str = "/usr/sbin/policy-rc.d";
const CREATE_CLUSTER: &str = "/etc/postgresql-common/createcluster.d/flash-sale.conf";

/// What is wanted and comes from where `pick` says.
fn wanted(
    also: &[For],
    pick: fn(&Tool) -> Option<&'static str>,
) -> impl Iterator<Item = &'static str> {
    let wanted = |tool: &&Tool| tool.needed_for == For::Run || also.contains(&tool.needed_for);
    TOOLS.iter().filter(wanted).filter_map(pick)
}

/// Packages of what is not there.
fn missing_packages(also: &[For]) -> Vec<&'static str> {
    let mut missing: Vec<_> = wanted(also, |tool| match tool.source {
        Source::Debian(package) if tool.look() == Found::Missing => Some(package),
        _ => None,
    })
    .collect();
    if needs_wheels(also) && !wheels::can_install() {
        missing.push(wheels::PACKAGE);
    }
    missing
}

/// Whether a wheel is missing; one that is too old is replaced, as that touches nobody else's.
fn needs_wheels(also: &[For]) -> bool {
    let unfit = |tool: &Tool| match (tool.source, tool.look()) {
        (Source::Wheel, Found::Missing | Found::TooOld(_)) => Some(tool.name),
        _ => None,
    };
    wanted(also, unfit).next().is_some()
}

/// The command a person pastes to install packages.
pub(crate) fn command(packages: &str) -> String {
    format!("sudo apt-get update && sudo apt-get install -y --no-install-recommends {packages}")
}

/// Installs what is missing to run the stack, and for what else is asked; says what it does.
///
/// # Errors
/// When the system is not Debian's, there are no rights, or apt fails.
pub(crate) fn run(also: &[For]) -> anyhow::Result<()> {
    install_packages(also)?;
    if needs_wheels(also) {
        wheels::install()?;
        anyhow::ensure!(
            !needs_wheels(also),
            "what was installed in {:?} does not run",
            find::tools()
        );
    }
    Ok(())
}

fn install_packages(also: &[For]) -> anyhow::Result<()> {
    let missing = missing_packages(also);
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    if find::on_path("apt-get").is_none() {
        bail!("install these with your package manager, then try again: {list}");
    }
    let script = script(&list, policy_exists());
    let is_root = rustix::process::geteuid().is_root();
    if !is_root && !sudo_works() {
        bail!(
            "these servers are missing; install them, then try again:\n\n  \
             {}; sudo systemctl disable --now {list}\n\n\
             (the last part stops what the packages started; what is here needs no service)",
            command(&list)
        );
    }
    crate::cli::say(&format!("installing {list}"));
    let mut command = if is_root { Command::new("sh") } else { Command::new("sudo") };
    if !is_root {
        command.arg("sh");
    }
    let status = command.args(["-ec", &script]).status().context("running apt-get")?;
    anyhow::ensure!(status.success(), "apt-get could not install {list}");
    let still = missing_packages(also);
    anyhow::ensure!(still.is_empty(), "still missing after installing: {}", still.join(" "));
    Ok(())
}

fn policy_exists() -> bool {
    Path::new(POLICY).exists()
}

/// Whether sudo works without a password, or somebody is there to type one.
fn sudo_works() -> bool {
    let silent = Command::new("sudo").args(["-n", "true"]).stderr(Stdio::null()).status();
    silent.is_ok_and(|status| status.success())
        || (find::on_path("sudo").is_some() && std::io::stdin().is_terminal())
}

/// The shell script that installs without starting anything, and cleans up whatever happens.
fn script(packages: &str, keep_policy: bool) -> String {
    let (make_policy, remove_policy) = if keep_policy {
        (String::new(), String::new())
    } else {
        (
            format!("printf '#!/bin/sh\\nexit 101\\n' > {POLICY}; chmod 755 {POLICY}\n"),
            format!("rm -f {POLICY}; "),
        )
    };
    let units = "redis-server rabbitmq-server postgresql nginx epmd.socket epmd";
    format!(
        "export DEBIAN_FRONTEND=noninteractive\n\
         trap '{remove_policy}rm -f {CREATE_CLUSTER}' EXIT\n\
         mkdir -p $(dirname {CREATE_CLUSTER})\n\
         echo 'create_main_cluster = false' > {CREATE_CLUSTER}\n\
         {make_policy}\
         enabled_before=$(systemctl list-unit-files --state=enabled --no-legend 2>&1 || true)\n\
         apt-get update -qq\n\
         apt-get install -y -qq --no-install-recommends {packages} >/dev/null\n\
         if [ -d /run/systemd/system ]; then\n\
           for unit in {units}; do\n\
             case \"$enabled_before\" in *\"$unit\"*) ;;\n\
               *) systemctl disable --now \"$unit\" >/dev/null 2>&1 || true ;;\n\
             esac\n\
           done\n\
         fi\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_denies_services_and_cleans_up_after_itself() {
        let text = script("nginx", false);
        assert!(text.contains("exit 101") && text.contains("create_main_cluster = false"));
        assert!(text.contains(&format!("trap 'rm -f {POLICY}; rm -f {CREATE_CLUSTER}' EXIT")));
        assert!(text.contains("install -y -qq --no-install-recommends nginx"));
    }

    #[test]
    fn a_policy_somebody_else_made_is_kept() {
        let text = script("nginx", true);
        assert!(!text.contains("exit 101") && !text.contains(&format!("rm -f {POLICY}")));
    }
}
