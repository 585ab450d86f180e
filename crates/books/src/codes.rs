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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_script_header_lists_exactly_these_codes_and_its_body_uses_them() {
        assert_eq!(service::script_codes::check(SCRIPTS), [""; 0]);
    }
}
