//! How long a 202 takes at half of the peak rate and at 100 requests a second, measured from the
//! moment each request was due.

use std::time::Duration;

use crate::lab::{Lab, PLENTY};
use crate::open_loop::{self, Plan, Told};
use crate::row::{Bound, Row};
use crate::system::{Claimed, SETTLED_GOAL, System};

/// Connections buyers keep.
const CONNECTIONS: usize = 256;

/// Measures half of the peak, then a quiet shop.
///
/// # Errors
/// When something does not start or answer.
pub(crate) async fn rows(lab: &mut Lab) -> anyhow::Result<Vec<Row>> {
    let peak = lab.pace(CONNECTIONS).await?.accepted_per_second;
    let mut half = measure(lab, "half of the peak", peak / 2.0).await?;
    let p99 = half.p99_ms.unwrap_or(f64::NAN);
    half.goal("p99 ms", Bound::AtMost(10.0), p99);
    let mut quiet = measure(lab, "100 requests/s", 100.0).await?;
    let p50 = quiet.p50_ms.unwrap_or(f64::NAN);
    quiet.goal("p50 ms", Bound::AtMost(3.0), p50);
    Ok(vec![half, quiet])
}

async fn measure(lab: &mut Lab, of: &str, rate: f64) -> anyhow::Result<Row> {
    let mut row = Row::new("latency", of);
    let (length, first_user) = (lab.length * 2, lab.users());
    let system = lab.system().await?;
    let product = system.sell(PLENTY).await?;
    let plan = Plan {
        address: system.address()?,
        connections: CONNECTIONS,
        rate,
        length,
        product,
        first_user,
        waiting_max: usize::MAX,
    };
    let before = system.meter.read();
    let mut told = open_loop::run(&plan).await?;
    let settled = system.wait_settled(&[product]).await?;
    row.usage = system.meter.read().since(&before, told.due);
    row.fact("due/s", rate);
    add(&mut row, &mut told);
    check(system, product, &told, settled, &mut row).await?;
    Ok(row)
}

/// Rate and percentiles of the 202s.
pub(crate) fn add(row: &mut Row, told: &mut Told) {
    row.per_second = Some(told.goodput());
    row.p50_ms = told.accepted.quantile_ms(0.5);
    row.p99_ms = told.accepted.quantile_ms(0.99);
    row.p999_ms = told.accepted.quantile_ms(0.999);
}

/// Every request was accepted, and every single reservation has its order.
pub(crate) async fn check(
    system: &mut System,
    product: i64,
    told: &Told,
    settled: Option<Duration>,
    row: &mut Row,
) -> anyhow::Result<()> {
    let others = told.due - told.count(202);
    row.check("only 202s", others == 0, told.others());
    let missing = system.count_missing(&told.reservations).await?;
    let known = told.reservations.len() as u64 == told.count(202);
    let figures = format!("{missing} of {} reservations missing", told.reservations.len());
    row.check("every reservation is confirmed", missing == 0 && known, figures);
    let figures = settled.map_or("never".to_owned(), |after| format!("{} ms", after.as_millis()));
    let in_time = settled.is_some_and(|after| after <= SETTLED_GOAL);
    row.check("settled within 2 s of the end", in_time, figures);
    let claimed = Claimed { accepted: told.count(202), unseen: others };
    system.check(row, &[product], claimed).await
}
