//! The cookie of somebody who signed in: for this host alone, out of reach of scripts, and never
//! sent along with a request that another site made.

use axum::http::{HeaderMap, HeaderValue, header};

/// Browsers take a cookie of such a name only from a host for itself, and only when it is secure.
const NAME: &str = "__Host-dutiful";
const RULES: &str = "Path=/; Secure; HttpOnly; SameSite=Strict";

/// Returns the secret of the session that a request names.
pub(super) fn session(headers: &HeaderMap) -> Option<String> {
    let cookies = headers.get_all(header::COOKIE).iter();
    let pairs = cookies.filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(';'));
    let mut own = pairs.filter_map(|pair| pair.trim().split_once('='));
    own.find(|(name, _)| *name == NAME).map(|(_, secret)| secret.to_owned())
}

/// A browser says where a change comes from, and it was looked at before; whoever has the cookie
/// and says nothing of the kind is none.
pub(super) fn says_where_from(headers: &HeaderMap) -> bool {
    headers.contains_key("sec-fetch-site") || headers.contains_key(header::ORIGIN)
}

/// Returns the header that gives a browser its session.
pub(crate) fn setting(secret: &str, seconds: u64) -> Option<HeaderValue> {
    format!("{NAME}={secret}; {RULES}; Max-Age={seconds}").parse().ok()
}

/// Returns the header that takes it away.
pub(crate) fn clearing() -> HeaderValue {
    HeaderValue::from_static(
        "__Host-dutiful=; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=0",
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn the_session_is_found_among_other_cookies() {
        let found = |lines: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(header::COOKIE, HeaderValue::from_static(line));
            }
            session(&headers)
        };
        assert_eq!(found(&["a=b; __Host-dutiful=x"]).as_deref(), Some("x"));
        assert_eq!(found(&["a=b", "c=d;__Host-dutiful=x;e"]).as_deref(), Some("x"));
        for none in ["", "dutiful=x", "__host-dutiful=x", "a__Host-dutiful=x", "__Host-dutiful"] {
            assert_eq!(found(&[none]), None, "{none}");
        }
    }

    #[test]
    fn a_cookie_is_cleared_by_the_rules_it_was_set_by() {
        let (set, cleared) = (setting("x", 5).unwrap(), clearing());
        assert_eq!(set, "__Host-dutiful=x; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=5");
        assert!(cleared.to_str().unwrap().contains(RULES));
        assert!(setting("a\nb", 5).is_none());
    }
}
