//! The codes the settler's scripts reply, as the header of each script in `lua/` lists them.
//!
//! Invariant: number and name of every code stand in the script's header too; a test holds them so.

use crate::redis_reply::RedisStepError;

macro_rules! script_codes {
    ($($(#[$doc:meta])* $name:ident of $script:literal {
        $($number:literal $word:literal $variant:ident,)*
    })*) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, Copy, PartialEq, Eq)]
            pub enum $name { $(#[doc = $word] $variant,)* }

            impl $name {
                /// Reads the number the script replied.
                ///
                /// # Errors
                /// When the script has no such code.
                pub fn from_number(number: i64) -> Result<Self, RedisStepError> {
                    match number {
                        $($number => Ok(Self::$variant),)*
                        _ => Err(RedisStepError::Shape(format!("code {number} from {}", $script))),
                    }
                }
            }
        )*

        #[cfg(test)]
        const TABLE: &[(&str, &str, &[(i64, &str)])] =
            &[$(($script, include_str!(concat!("../../lua/", $script)),
                 &[$(($number, $word),)*]),)*];
    };
}

script_codes! {
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
    /// Where a sale stands.
    CutCode of "read_cut.lua" {
        0 "OPEN" Open,
        1 "CLOSED" Closed,
        2 "MISSING" Missing,
    }
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
        for (script, text, codes) in TABLE {
            let listed: Vec<(i64, &str)> = text
                .lines()
                .skip_while(|line| !line.starts_with("-- Returns:"))
                .filter_map(|line| {
                    let mut words = line.strip_prefix("--   ")?.split_whitespace();
                    Some((words.next()?.parse().ok()?, words.next()?))
                })
                .collect();
            assert_eq!(&listed, codes, "{script}");
            for (number, name) in *codes {
                assert!(text.contains(&format!("local {name} = {number}\n")), "{script}: {name}");
                let used = text.lines().any(|line| {
                    line.contains("return") && !line.starts_with("--") && line.contains(name)
                });
                assert!(used, "{script} never returns {name}");
            }
        }
    }

    #[test]
    fn a_code_the_script_does_not_have_is_an_error() {
        assert_eq!(BeginCode::from_number(2).unwrap(), BeginCode::Missing);
        assert!(BeginCode::from_number(3).is_err());
    }
}
