//! Who we are to a server that wants to know: its password, or an account by SASL PLAIN (RFC 4616;
//! IRCv3 SASL 3.1, read 2026-11-23).

use std::fmt;

use data_encoding::BASE64;

use crate::discovery::irc::line::{Line, LineError};

/// What a server wants before it lets us in. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub enum Login {
    /// `PASS`.
    Password(String),
    Sasl {
        account: String,
        password: String,
    },
}

impl Login {
    /// Bytes of account and password together that one `AUTHENTICATE` line takes.
    pub const LEN_MAX: usize = 140;

    /// Returns what stands before `NICK`.
    ///
    /// # Errors
    /// A password that does not fit a line.
    pub fn first_line(&self) -> Result<Line, LineError> {
        match self {
            Self::Password(password) => Line::new("PASS", &[], Some(password)),
            Self::Sasl { .. } => Line::new("CAP", &["REQ"], Some("sasl")),
        }
    }

    /// Answers the server's `AUTHENTICATE +`.
    ///
    /// # Errors
    /// There is no account to name, or it is too long.
    pub fn answer(&self) -> Result<Line, LineError> {
        let Self::Sasl { account, password } = self else {
            return Line::new("AUTHENTICATE", &["*"], None);
        };
        if account.len() + password.len() > Self::LEN_MAX {
            return Err(LineError::TooLong(account.len() + password.len()));
        }
        let plain = format!("\0{account}\0{password}");
        Line::new("AUTHENTICATE", &[&BASE64.encode(plain.as_bytes())], None)
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Login(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_named_as_the_rfc_says_and_never_shown() {
        let login = Login::Sasl {
            account: "jilles".to_owned(),
            password: "sesame".to_owned(),
        };
        let line = login.answer().unwrap();
        assert_eq!(line.as_str(), "AUTHENTICATE AGppbGxlcwBzZXNhbWU=");
        assert_eq!(login.first_line().unwrap().as_str(), "CAP REQ :sasl");
        assert_eq!(format!("{login:?}"), "Login(hidden)");
        let login = Login::Password("a b".to_owned());
        assert_eq!(login.first_line().unwrap().as_str(), "PASS :a b");
    }
}
