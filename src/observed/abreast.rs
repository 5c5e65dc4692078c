//! A sorted map, gone through beside something else that is sorted alike.

use std::{
    borrow::Borrow,
    cmp::Ordering,
    collections::{BTreeMap, btree_map},
    iter::Peekable,
};

/// A map that is asked for one key behind the other: each is found beside the one before it. A search from the top for each of ten thousand names
/// costs more than all that is decided about them.
///
/// Keys may be asked for in any order; only one behind the other is cheap.
#[derive(Debug)]
pub struct Abreast<'a, K, V> {
    map: &'a BTreeMap<K, V>,
    rest: Peekable<btree_map::Iter<'a, K, V>>,
    passed: Option<&'a K>,
}

impl<'a, K: Ord, V> Abreast<'a, K, V> {
    /// At the beginning of `map`.
    pub fn of(map: &'a BTreeMap<K, V>) -> Self {
        Self { map, rest: map.iter().peekable(), passed: None }
    }

    /// As [`BTreeMap::get`].
    pub fn get<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&'a V>
    where
        K: Borrow<Q>,
    {
        if self.passed.is_some_and(|passed| key <= passed.borrow()) {
            return self.map.get(key);
        }
        loop {
            let (next, value) = self.rest.peek()?;
            match (*next).borrow().cmp(key) {
                Ordering::Less => self.passed = self.rest.next().map(|(passed, _)| passed),
                Ordering::Equal => return Some(value),
                Ordering::Greater => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_answers_as_the_map_does_in_any_order(map: BTreeMap<u8, u16>, keys: Vec<u8>) {
            let mut abreast = Abreast::of(&map);
            for key in keys {
                prop_assert_eq!(abreast.get(&key), map.get(&key));
            }
        }
    }
}
