//! The codes the settler's scripts reply, as the header of each script in `lua/` lists them.
//!
//! Invariant: number and name of every code stand in the script's header too; a test holds them so.

service::script_codes! {
    in "../../lua/";
    /// How a claim ended.
    BeginCode of "begin_vouch.lua" {
        0 "CLAIMED" Claimed,
        1 "OUTRUN" Outrun,
        2 "MISSING" Missing,
    }
    /// How loading ended.
    LoadCode of "load_sale.lua" {
        0 "LOADED" Loaded,
        1 "OUTRUN" Outrun,
    }
    /// How adopting ended.
    AdoptCode of "adopt_buyers.lua" {
        0 "ADOPTED" Adopted,
        1 "OUTRUN" Outrun,
    }
    /// How opening ended.
    OpenCode of "open_sale.lua" {
        0 "OPENED" Opened,
        1 "OUTRUN" Outrun,
        2 "RESTARTED" Restarted,
    }
    /// How forgetting ended.
    ForgetCode of "forget_sale.lua" {
        0 "FORGOTTEN" Forgotten,
        1 "OUTRUN" Outrun,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_script_header_lists_exactly_these_codes_and_its_body_uses_them() {
        assert_eq!(service::script_codes::check(SCRIPTS), [""; 0]);
    }

    #[test]
    fn a_code_the_script_does_not_have_is_an_error() {
        assert_eq!(BeginCode::from_number(2).unwrap(), BeginCode::Missing);
        assert!(BeginCode::from_number(3).is_err());
    }
}
