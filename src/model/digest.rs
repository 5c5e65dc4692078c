//! Content digests.

use std::time::Duration;

use sha2::{Digest as _, Sha256};

/// SHA-256 (FIPS 180-4) of `bytes`, as 64 lower-case hexadecimal digits.
pub fn sha256_hex(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from_digit(u32::from(half), 16).unwrap_or_default();
    Sha256::digest(bytes).iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 0xf)]).collect()
}

/// A share of a span that depends on the seed alone: what is due at the same time is not done at the same moment, and nothing is left to chance.
pub fn share_of(span: Duration, seed: &str) -> Duration {
    let digest = sha256_hex(seed.as_bytes());
    let share = u32::from_str_radix(&digest[..4], 16).unwrap_or(0);
    span * share / 0xffff
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_empty_message_has_the_published_digest() {
        assert_eq!(super::sha256_hex(b""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }
}
