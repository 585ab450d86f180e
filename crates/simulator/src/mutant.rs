//! Steps of the protocol that can be taken out, to see that their absence is noticed.
//!
//! Invariant: every mutant changes something; a test runs each until an invariant breaks.

/// One step that is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    /// Orders are confirmed although their user holds units.
    NoUniqueHolder,
    /// Units are judged by the stock before the lock was waited for, and taken without a guard.
    StaleStock,
    /// A gatekeeper replays no effects.
    NoReplay,
    /// A gatekeeper adopts no holders.
    NoAdopt,
    /// A gatekeeper does not look whether its epoch still stands.
    NoEpochCheck,
    /// A gatekeeper looks at PostgreSQL before it raises the epoch.
    SnapshotBeforeEpoch,
    /// A settler takes every order for one of the present epoch.
    NoLateOrders,
    /// A settler acknowledges before it commits.
    AckBeforeCommit,
    /// Nobody relays what a dead edge left behind.
    NoRelay,
    /// Nobody sweeps what a deleted queue held.
    NoSweeper,
    /// An edge forgets a batch whose confirm did not come, and its outbox entry.
    NoRepublish,
    /// A call is repeated with new candidate ids.
    NewCandidates,
    /// An order is given up whatever became of it.
    ReleaseTwice,
    /// Redis is not told that an order was given up.
    NoVoid,
    /// An order cancelled before it is settled is not recorded.
    NoCancelledRow,
    /// A message of an order that was given up is taken for a copy, and no more.
    NoSecondVoid,
    /// Whoever holds the place of a cancelled order is not adopted.
    NoHolderAdopted,
    /// A script with these words replaced.
    Script {
        /// What is missing then.
        name: &'static str,
        /// What stands in the script.
        from: &'static str,
        /// What stands there instead.
        to: &'static str,
    },
}

const fn script(name: &'static str, from: &'static str, to: &'static str) -> Mutant {
    Mutant::Script { name, from, to }
}

impl Mutant {
    /// Every mutant, each of which some schedule finds.
    pub const ALL: &'static [Self] = &[
        Self::NoUniqueHolder,
        Self::StaleStock,
        Self::NoAdopt,
        Self::SnapshotBeforeEpoch,
        Self::NoLateOrders,
        Self::AckBeforeCommit,
        Self::NoRelay,
        Self::NoSweeper,
        Self::NoRepublish,
        Self::NewCandidates,
        Self::ReleaseTwice,
        Self::NoCancelledRow,
        Self::NoSecondVoid,
        script(
            "reserve.lua without the fence",
            "if not f[1] or f[1] ~= replid then return { CLOSED, now_ms } end",
            "if not f[1] then return { CLOSED, now_ms } end",
        ),
        script(
            "reserve.lua without the deadline",
            "if now_ms > deadline_ms then return { STALE, now_ms } end",
            "",
        ),
        script("reserve.lua without dedupe", "if holder then", "if holder == 1 then"),
        script("reserve.lua without stock", "elseif available <= 0 then", "elseif false then"),
        script(
            "begin_vouch.lua keeps what a dead gatekeeper had adopted",
            "redis.call('DEL', buyers)",
            "",
        ),
        script(
            "adopt_buyers.lua without the claim",
            "if f[1] ~= ARGV[1] or not f[2] then",
            "if not f[2] then",
        ),
        script("adopt_buyers.lua displaces", "if not present[n] then", "if true then"),
        script(
            "load_sale.lua without the claim",
            "if redis.call('HGET', sale, 'claim') ~= ARGV[1] then return OUTRUN end",
            "",
        ),
        script("open_sale.lua without the claim", "if f[1] ~= epoch then return OUTRUN end", ""),
        script(
            "open_sale.lua on a node that restarted meanwhile",
            "if own ~= replid or not f[2] then return RESTARTED end",
            "if not f[2] then return RESTARTED end",
        ),
        script(
            "report_stock.lua applies effects in any order",
            "if tonumber(ARGV[i]) == applied + 1 then",
            "if tonumber(ARGV[i]) > applied then",
        ),
        script(
            "report_stock.lua applies effects twice",
            "if tonumber(ARGV[i]) == applied + 1 then",
            "if true then",
        ),
        script(
            "report_stock.lua voids another reservation of the user",
            "holder and string.sub(holder, 1, #id) == id then",
            "holder then",
        ),
        script(
            "report_stock.lua without the claim",
            "elseif f[2] ~= claim then",
            "elseif false then",
        ),
    ];

    /// Steps with another line of defence behind them: taken out alone, nothing breaks, and the
    /// reason stands beside each.
    pub const SECOND_LINE: &'static [Self] = &[
        // What was not replayed is told in its order once the node is open.
        Self::NoReplay,
        // A reservation that stays in Redis though it was given up is swept, and settled once more.
        Self::NoVoid,
        // The message of the cancelled order comes later, and its outcome is followed by the same.
        Self::NoHolderAdopted,
        // Whoever opens a node under an outrun epoch is found by the next look, and what it sold
        // is judged late.
        Self::NoEpochCheck,
        // The gatekeeper itself compares its epoch with PostgreSQL's after the claim.
        script(
            "begin_vouch.lua without the claim's order",
            "if (tonumber(f[1]) or 0) >= epoch then",
            "if false then",
        ),
        // A node that is claimed and still vouched for lost nothing since.
        script(
            "begin_vouch.lua leaves the sale open",
            "redis.call('HDEL', sale, 'vouch')\nif not f[2] then",
            "if not f[2] then",
        ),
        // Arrival numbers start again in a new epoch, which orders them.
        script(
            "open_sale.lua forgets what arrived before",
            "local seq = math.max(tonumber(f[2]), tonumber(adopted_seq))",
            "local seq = tonumber(f[2])",
        ),
        // The leader tells again whoever knows an older version.
        script("report_stock.lua keeps an older stock", "if version > tonumber(f[5])", "if true"),
    ];

    /// What is missing, in words.
    pub fn name(self) -> String {
        match self {
            Self::Script { name, .. } => name.to_owned(),
            other => format!("{other:?}"),
        }
    }

    /// How scripts are changed.
    pub(crate) fn edits(self) -> Vec<(&'static str, &'static str)> {
        match self {
            Self::Script { from, to, .. } => vec![(from, to)],
            _ => Vec::new(),
        }
    }
}
