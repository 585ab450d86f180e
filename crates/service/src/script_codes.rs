//! Codes a Lua script replies, mirrored by an enum, and the check that the two agree.
//!
//! Owns the macro; the tables stand beside the code that calls the scripts. Invariant: number and
//! name of every code stand in the script's header too; a test of each table holds them so.

/// Declares one enum a script: `Name of "file.lua" { 0 "WORD" Variant, … }`, after `in "folder"`,
/// the folder of the scripts as seen from the file that declares them. A test in that module calls
/// [`check`] with its `SCRIPTS`.
#[macro_export]
macro_rules! script_codes {
    (in $folder:literal; $($(#[$doc:meta])* $name:ident of $script:literal {
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
                pub fn from_number(
                    number: i64,
                ) -> Result<Self, $crate::redis_reply::RedisStepError> {
                    match number {
                        $($number => Ok(Self::$variant),)*
                        _ => Err($crate::redis_reply::RedisStepError::Shape(
                            format!("code {number} from {}", $script),
                        )),
                    }
                }
            }
        )*

        #[cfg(test)]
        const SCRIPTS: &[$crate::script_codes::Script<'static>] = &[$((
            $script,
            include_str!(concat!($folder, $script)),
            &[$(($number, $word),)*],
        ),)*];
    };
}

/// A script's file name, its text, and the codes an enum gives it.
pub type Script<'a> = (&'a str, &'a str, &'a [(i64, &'a str)]);

/// What is wrong with the header or the body of these scripts; empty when they agree with the
/// enums.
pub fn check(scripts: &[Script<'_>]) -> Vec<String> {
    let mut findings = Vec::new();
    for (script, text, codes) in scripts {
        let listed: Vec<(i64, &str)> = text
            .lines()
            .skip_while(|line| !line.starts_with("-- Returns:"))
            .filter_map(|line| {
                let mut words = line.strip_prefix("--   ")?.split_whitespace();
                Some((words.next()?.parse().ok()?, words.next()?))
            })
            .collect();
        if listed != *codes {
            findings.push(format!("{script} lists {listed:?}"));
        }
        for (number, name) in *codes {
            if !text.contains(&format!("local {name} = {number}\n")) {
                findings.push(format!("{script} does not name {name} = {number}"));
            }
            let used = text.lines().any(|line| {
                line.contains("return") && !line.starts_with("--") && line.contains(name)
            });
            if !used {
                findings.push(format!("{script} never returns {name}"));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "-- Returns: code\n--   0 DONE it\nlocal DONE = 0\nreturn DONE\n";

    #[test]
    fn a_script_that_disagrees_with_its_enum_is_found() {
        assert!(check(&[("a.lua", TEXT, &[(0, "DONE")])]).is_empty());
        assert_eq!(check(&[("a.lua", TEXT, &[(1, "DONE")])]).len(), 2);
        assert_eq!(check(&[("a.lua", TEXT, &[(0, "DONE"), (1, "LOST")])]).len(), 3);
        let unused = TEXT.replace("return DONE", "");
        assert_eq!(check(&[("a.lua", &unused, &[(0, "DONE")])]).len(), 1);
    }
}
