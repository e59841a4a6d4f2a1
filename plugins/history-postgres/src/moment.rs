//! Times: milliseconds since the Unix epoch here, `timestamptz` there.

use std::error::Error;

use tokio_postgres::types::private::BytesMut;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, accepts, to_sql_checked};

/// Milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment(pub(crate) u64);

/// From the Unix epoch to that of PostgreSQL, the year 2000.
const POSTGRES_EPOCH_MS: i64 = 946_684_800_000;
/// The last millisecond that a `timestamptz` can hold, in the year 294276.
const LAST_MS: i64 = 9_224_318_015_999_999;

impl ToSql for Moment {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        let ms = i64::try_from(self.0).unwrap_or(LAST_MS).min(LAST_MS);
        ((ms - POSTGRES_EPOCH_MS) * 1000).to_sql(&Type::INT8, out)
    }

    accepts!(TIMESTAMPTZ);
    to_sql_checked!();
}

impl<'a> FromSql<'a> for Moment {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        let micros = i64::from_sql(&Type::INT8, raw)?;
        let ms = micros.div_euclid(1000).saturating_add(POSTGRES_EPOCH_MS);
        Ok(Self(u64::try_from(ms).unwrap_or_default()))
    }

    accepts!(TIMESTAMPTZ);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_kept_to_the_millisecond() {
        let kept = |ms: u64| {
            let mut bytes = BytesMut::new();
            Moment(ms).to_sql(&Type::TIMESTAMPTZ, &mut bytes).unwrap();
            Moment::from_sql(&Type::TIMESTAMPTZ, &bytes).unwrap().0
        };
        for ms in [0, 1, 946_684_800_000, 1_763_000_000_123, 253_402_300_799_999] {
            assert_eq!(kept(ms), ms);
        }
        assert_eq!(kept(u64::MAX), 9_224_318_015_999_999, "the last that there is");
    }
}
