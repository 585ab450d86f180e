//! What the rows share: the system, the ceiling, and figures one row needs of another.
//!
//! Both are started when first asked for and stay until [`Lab::retire`], so that a row that is
//! measured alone starts no more than it needs.

use std::time::Duration;

use stack::Stack;

use crate::accounting::Meter;
use crate::ceiling;
use crate::rows::accepted;
use crate::system::System;
use crate::wrk::{self, Buyers};

/// More units than any run can sell.
pub(crate) const PLENTY: i64 = 100_000_000;
/// User ids one run of wrk may use: each of its threads has a tenth.
const USERS_PER_RUN: i64 = 1_000_000_000;
/// Length of a run whose figures nobody keeps.
const WARM_UP: Duration = Duration::from_secs(1);

/// How fast the system accepted and settled.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    pub(crate) accepted_per_second: f64,
    pub(crate) settled_per_second: f64,
}

/// The bare servers behind nginx.
#[derive(Debug)]
pub(crate) struct Ceiling {
    pub(crate) stack: Stack,
    pub(crate) meter: Meter,
}

/// Everything rows share.
#[derive(Debug)]
pub(crate) struct Lab {
    /// Length of one run.
    pub(crate) length: Duration,
    system: Option<System>,
    ceiling: Option<Ceiling>,
    next_user: i64,
}

impl Lab {
    pub(crate) fn new(length: Duration) -> Self {
        Self { length, system: None, ceiling: None, next_user: USERS_PER_RUN }
    }

    /// The first of user ids nobody has had.
    pub(crate) fn users(&mut self) -> i64 {
        self.next_user += USERS_PER_RUN;
        self.next_user
    }

    /// The system with its default settings.
    ///
    /// # Errors
    /// When it does not start.
    pub(crate) async fn system(&mut self) -> anyhow::Result<&mut System> {
        let first_user = self.users();
        if self.system.is_none() {
            let mut system = System::start(&[]).await?;
            let product = system.sell(PLENTY).await?;
            let buyers = Buyers { first_user, product, ..Buyers::default() };
            wrk::press(&url(&system.stack), 64, WARM_UP, &buyers).await?;
            system.wait_settled(&[product]).await?;
            return Ok(self.system.insert(system));
        }
        self.system.as_mut().ok_or_else(|| anyhow::anyhow!("the system is gone"))
    }

    /// The ceiling.
    ///
    /// # Errors
    /// When it does not start.
    pub(crate) async fn ceiling(&mut self) -> anyhow::Result<&Ceiling> {
        if self.ceiling.is_none() {
            let stack = ceiling::start().await?;
            let buyers = Buyers { first_user: 1, product: 1, ..Buyers::default() };
            wrk::press(&url(&stack), 64, WARM_UP, &buyers).await?;
            let meter = Meter::of(&stack);
            return Ok(self.ceiling.insert(Ceiling { stack, meter }));
        }
        self.ceiling.as_ref().ok_or_else(|| anyhow::anyhow!("the ceiling is gone"))
    }

    /// What the system reaches now at so many connections. Measured anew for each row that needs
    /// it: minutes later the machine may be half as fast.
    ///
    /// # Errors
    /// When it cannot be measured.
    pub(crate) async fn pace(&mut self, connections: usize) -> anyhow::Result<Pace> {
        let length = self.length;
        let first_user = self.users();
        let system = self.system().await?;
        let product = system.sell(PLENTY).await?;
        let run = accepted::press(system, product, first_user, connections, length).await?;
        Ok(run.pace())
    }

    /// Stops what runs: what comes next must not share the machine with it.
    pub(crate) async fn retire(&mut self) {
        if let Some(system) = self.system.take() {
            system.shutdown().await;
        }
        if let Some(ceiling) = self.ceiling.take() {
            ceiling.stack.shutdown().await;
        }
    }
}

/// Where wrk presses.
pub(crate) fn url(stack: &Stack) -> String {
    format!("{}/api/buy", stack.http())
}
