//! Sizes that are a number, the same for rows and columns, or a pair: `3`, `[10, 4]`.

use std::fmt;

use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// Rows and columns of a window, or of its steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extents(pub [usize; 2]);

impl<'de> Deserialize<'de> for Extents {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Extents;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a size, or a pair of sizes for rows and columns")
    }

    fn visit_u64<E: de::Error>(self, size: u64) -> Result<Extents, E> {
        let size =
            usize::try_from(size).map_err(|_| E::invalid_value(de::Unexpected::Unsigned(size), &self))?;
        Ok(Extents([size; 2]))
    }

    fn visit_i64<E: de::Error>(self, size: i64) -> Result<Extents, E> {
        let size =
            usize::try_from(size).map_err(|_| E::invalid_value(de::Unexpected::Signed(size), &self))?;
        Ok(Extents([size; 2]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut pair: A) -> Result<Extents, A::Error> {
        let rows = pair.next_element()?.ok_or_else(|| de::Error::invalid_length(0, &self))?;
        let columns = pair.next_element()?.ok_or_else(|| de::Error::invalid_length(1, &self))?;
        match pair.next_element::<de::IgnoredAny>()? {
            None => Ok(Extents([rows, columns])),
            Some(_) => Err(de::Error::invalid_length(3, &self)),
        }
    }
}
