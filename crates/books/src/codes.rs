//! The codes this crate's scripts reply, as the header of each script in `lua/` lists them.
//!
//! Invariant: number and name of every code stand in the script's header too; a test holds them so.

service::script_codes! {
    in "../../../lua/";
    /// How reporting ended.
    ReportCode of "report_stock.lua" {
        0 "REPORTED" Reported,
        1 "CLOSED" Closed,
    }
    /// How telling what an operator changed ended.
    UpdateCode of "update_sale.lua" {
        0 "UPDATED" Updated,
        1 "CURRENT" Current,
        2 "CLOSED" Closed,
    }
    /// How marking units ended.
    WithdrawCode of "withdraw_units.lua" {
        0 "MARKED" Marked,
        1 "CLOSED" Closed,
        2 "NOT_ENOUGH" NotEnough,
        3 "BUSY" Busy,
        4 "STALE" Stale,
    }
    /// How releasing units ended.
    ReleaseCode of "release_units.lua" {
        0 "RELEASED" Released,
        1 "ABSENT" Absent,
        2 "CLOSED" Closed,
    }
    /// Where a sale stands.
    CutCode of "read_cut.lua" {
        0 "OPEN" Open,
        1 "CLOSED" Closed,
        2 "MISSING" Missing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_script_header_lists_exactly_these_codes_and_its_body_uses_them() {
        assert_eq!(service::script_codes::check(SCRIPTS), [""; 0]);
    }
}
