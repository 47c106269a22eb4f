//! Variables of the environment that look like settings and are none.

use std::ffi::OsString;

use clap::{Args as _, Command};

use super::ServeArguments;
use crate::exit::{Exit, Failure};

/// What the names of all settings begin with.
const PREFIX: &str = "TRIBUTARY__";

/// Refuses variables that begin like a setting and are none: a name that is misspelt would be ignored.
///
/// # Errors
/// With the names that are known.
pub fn refuse_unknown(names: impl Iterator<Item = OsString>) -> Result<(), Failure> {
    let command = ServeArguments::augment_args(Command::new("serve"));
    let known: Vec<_> = command
        .get_arguments()
        .filter_map(|flag| flag.get_env())
        .collect();
    let unknown = |name: &OsString| {
        name.to_string_lossy().starts_with(PREFIX) && !known.contains(&name.as_os_str())
    };
    let Some(name) = names.into_iter().find(unknown) else {
        return Ok(());
    };
    let mut known: Vec<_> = known.iter().map(|name| name.to_string_lossy()).collect();
    known.sort();
    let sentence = format!(
        "the variable {} of the environment is no setting: unset it, or use one of {}",
        name.to_string_lossy(),
        known.join(", ")
    );
    Err(Failure::new(Exit::Usage, sentence))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(names: &[&str]) -> Option<String> {
        let names = names.iter().map(OsString::from);
        refuse_unknown(names)
            .err()
            .map(|failure| failure.to_string())
    }

    #[test]
    fn a_variable_that_is_misspelt_is_refused_with_those_that_are_known() {
        let fine = [
            "PATH",
            "TRIBUTARY_COORDINATOR",
            "TRIBUTARY__LIMITS__STREAMS",
        ];
        assert_eq!(refused(&fine), None);
        let told = refused(&["PATH", "TRIBUTARY__LIMIT__STREAMS"]).unwrap();
        for word in [
            "TRIBUTARY__LIMIT__STREAMS of the environment",
            "TRIBUTARY__LIMITS__STREAMS",
            "TRIBUTARY__STORE__ENGINE",
            "TRIBUTARY__SERVE__DATA",
        ] {
            assert!(told.contains(word), "{told}");
        }
    }
}
