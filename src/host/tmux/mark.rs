//! Our mark on a tmux session: one user option, `<pool>.<session>.<digest>`.
//!
//! One option and not three, because each write of an option costs time in proportion to the number of panes (`facts/tmux.md`, section 2).
//! It is made of `[A-Za-z0-9_.-]` only, so that it is the same text in a format, in a pattern and on a line.

use uuid::Uuid;

use crate::{
    model::{PoolId, SessionName, StartDigest},
    observed::Mark,
};

/// The option's name, of session scope.
pub(super) const OPTION: &str = "@claude_failover";

/// The option's value; `None` when the digest could not be told apart in it.
pub(super) fn encode(mark: &Mark) -> Option<String> {
    is_plain(&mark.digest.0).then(|| format!("{}{}", stem(mark), mark.digest))
}

fn is_plain(digest: &str) -> bool {
    !digest.is_empty() && digest.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// What all marks of one session of one pool begin with.
pub(super) fn stem(mark: &Mark) -> String {
    format!("{}.{}.", mark.pool, mark.session)
}

/// Reads a value on the session `bearer`. A mark that does not name its bearer is none.
pub(super) fn decode(value: &str, bearer: &str) -> Option<Mark> {
    let mut parts = value.split('.');
    let (id, session, digest) = (parts.next()?, parts.next()?, parts.next()?);
    let pool = Uuid::try_parse(id).ok()?;
    // Only what we would write ourselves is ours.
    let as_written = pool.hyphenated().encode_lower(&mut Uuid::encode_buffer()) == id && is_plain(digest) && parts.next().is_none();
    if !as_written || session != bearer {
        return None;
    }
    Some(Mark { pool: PoolId(pool), session: SessionName::new(session).ok()?, digest: StartDigest(digest.to_owned()) })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mark(session: &str, digest: &str) -> Mark {
        Mark {
            pool: PoolId(Uuid::from_u128(0xabc)),
            session: SessionName::new(session).expect("a name"),
            digest: StartDigest(digest.to_owned()),
        }
    }

    #[test]
    fn a_mark_on_another_session_is_none() {
        let value = encode(&mark("web1", "0123456789ab")).expect("plain");
        assert_eq!(decode(&value, "web1"), Some(mark("web1", "0123456789ab")));
        for bearer in ["web10", "web", "", "WEB1", "web1 "] {
            assert_eq!(decode(&value, bearer), None, "{bearer:?}");
        }
    }

    #[test]
    fn what_we_would_not_write_is_not_ours() {
        let value = encode(&mark("a", "7")).expect("plain");
        let others =
            [format!("{value}.x"), format!("{value}\n"), value.to_uppercase().replace(".A.", ".a."), value.replace('-', ""), "..".into()];
        for other in others {
            assert_eq!(decode(&other, "a"), None, "{other:?}");
        }
        assert_eq!(encode(&mark("a", "*")), None);
        assert_eq!(encode(&mark("a", "")), None);
    }

    proptest! {
        #[test]
        fn every_mark_reads_back(session in "[A-Za-z0-9][A-Za-z0-9_-]{0,62}", digest in "[0-9a-f]{1,64}") {
            let mark = mark(&session, &digest);
            prop_assert_eq!(decode(&encode(&mark).expect("plain"), &session), Some(mark));
        }

        #[test]
        fn no_text_makes_it_panic(value in ".{0,200}", bearer in ".{0,70}") {
            let _ = decode(&value, &bearer);
        }
    }
}
