//! Answers in pages: a list that grows for ever never grows an answer.
//!
//! A page begins with the newest. Its token says where the next page, of older entries, begins;
//! callers hand it back and don't look inside.

use crate::error::CoordinatorError;

/// Entries of a page when none are asked for.
pub const DEFAULT: usize = 1_000;
/// Most entries of a page.
pub const MOST: usize = 10_000;

/// How many entries a caller gets.
pub fn size(asked: u32, default: usize) -> usize {
    if asked == 0 {
        default
    } else {
        (asked as usize).min(MOST)
    }
}

fn wrong_token() -> CoordinatorError {
    CoordinatorError::Invalid {
        field: "page_token",
        problem: "is not from an answer to this call".to_owned(),
        remedy: "leave it empty for the first page, then hand back next_page_token",
    }
}

/// The place in a list that a token names; the end without one.
fn place(token: &str, length: usize) -> Result<usize, CoordinatorError> {
    if token.is_empty() {
        return Ok(length);
    }
    let place = token.parse::<usize>().map_err(|_| wrong_token())?;
    Ok(place.min(length))
}

/// The last `size` of `entries` before the token's place, in their order, and the next token: entries
/// are added at the end, so that a place stays what it was.
pub fn before<T: Clone>(
    entries: &[T],
    token: &str,
    size: usize,
) -> Result<(Vec<T>, String), CoordinatorError> {
    let end = place(token, entries.len())?;
    let begin = end.saturating_sub(size);
    let next = if begin == 0 {
        String::new()
    } else {
        begin.to_string()
    };
    Ok((entries[begin..end].to_vec(), next))
}

/// `size` of `entries` in order after the one whose key the token names, and the next token.
pub fn after<T>(
    entries: Vec<T>,
    token: &str,
    size: usize,
    key: impl Fn(&T) -> String,
) -> Result<(Vec<T>, String), CoordinatorError> {
    let begin = match token {
        "" => 0,
        token => {
            let last = entries.iter().position(|entry| key(entry) == token);
            last.ok_or_else(wrong_token)? + 1
        }
    };
    let end = entries.len().min(begin + size);
    let more = end < entries.len();
    let page: Vec<T> = entries.into_iter().take(end).skip(begin).collect();
    let next = page.last().filter(|_| more).map_or(String::new(), key);
    Ok((page, next))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn pages_of_a_list_put_together_are_the_list(length in 0usize..60, size in 1usize..20) {
            let list: Vec<usize> = (0..length).collect();
            let (mut token, mut all) = (String::new(), Vec::new());
            loop {
                let (page, next) = before(&list, &token, size).unwrap();
                prop_assert!(page.len() <= size);
                all.splice(0..0, page);
                if next.is_empty() { break; }
                token = next;
            }
            prop_assert_eq!(&all, &list);
            let key = |entry: &usize| format!("k{entry}");
            let (mut token, mut all) = (String::new(), Vec::new());
            loop {
                let (page, next) = after(list.clone(), &token, size, key).unwrap();
                prop_assert!(page.len() <= size);
                all.extend(page);
                if next.is_empty() { break; }
                token = next;
            }
            prop_assert_eq!(all, list);
        }
    }

    #[test]
    fn a_token_that_is_none_is_refused_by_its_field() {
        let refused = [
            before(&[1, 2], "x", 1).map(drop),
            after(vec![1, 2], "9", 1, ToString::to_string).map(drop),
        ];
        for refused in refused {
            assert!(refused.unwrap_err().to_string().starts_with("page_token"));
        }
    }
}
