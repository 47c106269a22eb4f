//! HMAC-SHA256 (RFC 2104) over parts of any length.

use sha2::{Digest as _, Sha256};

/// Bytes of a block of SHA-256.
const BLOCK: usize = 64;

/// Authenticates parts under a key. Each is preceded by its length, so that they don't run together.
pub(super) fn authenticate(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    let mut message = Vec::new();
    for part in parts {
        message.extend_from_slice(&(part.len() as u64).to_be_bytes());
        message.extend_from_slice(part);
    }
    hmac(key, &message)
}

/// Whether a seal is the expected one. Digests are compared, so the time taken tells nothing.
pub(super) fn is_same(expected: &[u8; 32], given: &[u8]) -> bool {
    given.len() == expected.len() && Sha256::digest(expected) == Sha256::digest(given)
}

fn hmac(key: &[u8; 32], message: &[u8]) -> [u8; 32] {
    let padded = |pad: u8| {
        let mut block = [pad; BLOCK];
        for (byte, key) in block.iter_mut().zip(key) {
            *byte ^= key;
        }
        block
    };
    let mut inner = Sha256::new();
    inner.update(padded(0x36));
    inner.update(message);
    let mut outer = Sha256::new();
    outer.update(padded(0x5c));
    outer.update(inner.finalize());
    outer.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231 gives keys of 20, 4 and 25 bytes; one shorter than a block is filled up with zeros.
    fn filled(key: &[u8]) -> [u8; 32] {
        let mut filled = [0; 32];
        filled[..key.len()].copy_from_slice(key);
        filled
    }

    #[test]
    fn the_test_vectors_of_rfc_4231_are_met() {
        let counting: Vec<u8> = (1..=25).collect();
        let cases: [(&[u8], &[u8], &str); 3] = [
            (
                &[0x0b; 20],
                b"Hi There",
                "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
            ),
            (
                b"Jefe",
                b"what do ya want for nothing?",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            (
                &counting,
                &[0xcd; 50],
                "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b",
            ),
        ];
        for (key, message, expected) in cases {
            assert_eq!(hex::encode(hmac(&filled(key), message)), expected);
        }
    }

    #[test]
    fn parts_do_not_run_together() {
        let key = [7; 32];
        let split = authenticate(&key, &[b"ab", b"c"]);
        assert_ne!(split, authenticate(&key, &[b"a", b"bc"]));
        assert!(is_same(&split, &authenticate(&key, &[b"ab", b"c"])));
        assert!(!is_same(&split, &split[..31]));
    }
}
