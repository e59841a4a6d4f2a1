//! Builds, newest first.
//!
//! Of one component the higher number is newer, among all the later start. The cursor says where the page before ended in
//! that order, so that builds which begin meanwhile move nothing. For each way to ask there is an index.

use dcd_plugin_sdk::Error;
use dcd_plugin_sdk::history::{BuildFilter, BuildPage, Page};
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use crate::builds::{RECORD, name, record};
use crate::moment::Moment;
use crate::session::Session;
use crate::text;

const LONGEST_PAGE: u32 = 10_000;
/// How many bytes of metadata and summaries a page carries, so that a slow line has it within a call; the last build may
/// exceed it.
const LARGEST_PAGE: i64 = 4 << 20;
/// The keys of the metadata that are columns, and how many characters of a text these hold.
const COLUMNS: &[(&str, &str)] = &[("branch", "branch"), ("commit", "commit"), ("user", "user_name")];
const CUT: usize = 400;

/// Where a page ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cursor {
    /// The build's number, in the list of a component.
    Number(i64),
    /// When the build started, in microseconds, and its id, in the list of all.
    Start(i64, i64),
}

impl Cursor {
    fn read(text: &str, of_component: bool) -> Option<Self> {
        match (text.split_once('.'), of_component) {
            (None, true) => Some(Self::Number(text.parse().ok()?)),
            (Some((start, id)), false) => Some(Self::Start(start.parse().ok()?, id.parse().ok()?)),
            _ => None,
        }
    }

    fn text(self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Start(start, id) => format!("{start}.{id}"),
        }
    }
}

/// A statement that grows.
#[derive(Default)]
struct Query {
    conditions: Vec<String>,
    values: Vec<(Box<dyn ToSql + Sync>, Type)>,
}

impl Query {
    /// Takes a value, and answers what stands for it.
    fn value(&mut self, value: impl ToSql + Sync + 'static, kind: Type) -> String {
        self.values.push((Box::new(value), kind));
        format!("${}", self.values.len())
    }

    fn new(filter: &BuildFilter, cursor: Option<Cursor>) -> Self {
        let mut query = Self::default();
        if let Some(component) = &filter.component {
            let value = query.value(text::stored(component).into_owned(), Type::TEXT);
            query.conditions.push(format!("component = {value}"));
        }
        match filter.statuses.as_slice() {
            [] => {}
            [one] => {
                let value = query.value(name(*one), Type::TEXT);
                query.conditions.push(format!("status = {value}"));
            }
            several => {
                let names: Vec<_> = several.iter().map(|status| name(*status)).collect();
                let value = query.value(names, Type::TEXT_ARRAY);
                query.conditions.push(format!("status = ANY ({value})"));
            }
        }
        for (bound, sign) in [(filter.started_after, '>'), (filter.started_before, '<')] {
            if let Some(bound) = bound {
                let value = query.value(Moment(bound), Type::TIMESTAMPTZ);
                query.conditions.push(format!("started_at {sign} {value}"));
            }
        }
        for (key, text) in &filter.metadata {
            query.metadata(key, text);
        }
        match cursor {
            None => {}
            Some(Cursor::Number(number)) => {
                let value = query.value(number, Type::INT8);
                query.conditions.push(format!("number < {value}"));
            }
            Some(Cursor::Start(start, id)) => {
                // By microseconds: the table may hold some that others wrote.
                let start = query.value(start, Type::INT8);
                let id = query.value(id, Type::INT8);
                query.conditions.push(format!(
                    "(started_at, id) < (timestamptz 'epoch' + {start} * interval '1 microsecond', {id})"
                ));
            }
        }
        query
    }

    /// A column holds the text of a key, as far as it is not too long; of the rest the metadata itself knows.
    fn metadata(&mut self, key: &str, text: &str) {
        let column = COLUMNS.iter().find(|(known, _)| *known == key);
        let (column, stored) = (column.map(|(_, column)| *column), text::stored(text));
        let cut: String = stored.chars().take(CUT).collect();
        let is_whole = column.is_some() && cut.chars().count() < CUT;
        if let Some(column) = column {
            let value = self.value(cut, Type::TEXT);
            self.conditions.push(format!("{column} = {value}"));
        }
        // Only where it is needed: else it leads the server away from the column's index, which is in the right order.
        if !is_whole {
            let value = self.value(text::jsonb_pair(key, text), Type::TEXT);
            self.conditions.push(format!("metadata @> {value}::jsonb"));
        }
    }
}

pub(crate) fn list(session: &Session, filter: &BuildFilter, page: &Page) -> Result<BuildPage, Error> {
    let limit = page.limit.clamp(1, LONGEST_PAGE) as usize;
    let of_component = filter.component.is_some();
    let read = |text: &String| {
        Cursor::read(text, of_component)
            .ok_or_else(|| Error::other("the cursor is not one that this backend gave for such a list"))
    };
    let cursor = page.cursor.as_ref().map(read).transpose()?;
    let query = Query::new(filter, cursor);
    let conditions = if query.conditions.is_empty() {
        String::new()
    } else {
        format!("WHERE {}", query.conditions.join(" AND "))
    };
    let order = if of_component { "number DESC" } else { "started_at DESC, id DESC" };
    // The lengths of texts are known without reading them.
    let bytes = "octet_length(metadata_text) + coalesce(octet_length(summary_text), 0)";
    let sql = format!(
        "SELECT {RECORD}, id, (extract(epoch FROM started_at) * 1000000)::bigint, bytes_so_far FROM (\
         SELECT *, sum({bytes}) OVER (ORDER BY {order} ROWS UNBOUNDED PRECEDING) AS bytes_so_far FROM (\
         SELECT * FROM SCHEMA.builds {conditions} ORDER BY {order} LIMIT {}) AS fitting) AS build \
         WHERE bytes_so_far - ({bytes}) < {LARGEST_PAGE} ORDER BY {order}",
        limit + 1
    );
    let values: Vec<(&(dyn ToSql + Sync), Type)> =
        query.values.iter().map(|(value, kind)| (&**value as &(dyn ToSql + Sync), kind.clone())).collect();
    let rows = session.query(&sql, &values)?;
    let cursor = |last: &Row| {
        if of_component { Cursor::Number(last.get(1)) } else { Cursor::Start(last.get(13), last.get(12)) }
    };
    let page = &rows[..rows.len().min(limit)];
    let is_cut = |last: &Row| rows.len() > limit || last.get::<_, i64>(14) >= LARGEST_PAGE;
    let next = page.last().filter(|last| is_cut(last)).map(cursor);
    let items = page.iter().map(record).collect();
    Ok(BuildPage { items, next: next.map(Cursor::text) })
}

#[cfg(test)]
mod tests {
    use dcd_plugin_sdk::history::Status;

    use super::*;

    fn filter() -> BuildFilter {
        BuildFilter {
            component: None,
            statuses: Vec::new(),
            started_after: None,
            started_before: None,
            metadata: Vec::new(),
        }
    }

    #[test]
    fn a_cursor_comes_back_in_its_own_list_only() {
        for (cursor, of_component) in [(Cursor::Number(7), true), (Cursor::Start(-3, 9), false)] {
            assert_eq!(Cursor::read(&cursor.text(), of_component), Some(cursor));
            assert_eq!(Cursor::read(&cursor.text(), !of_component), None);
        }
        assert_eq!(Cursor::read("x", true), None);
        assert_eq!(Cursor::read("", true), None);
    }

    #[test]
    fn conditions_stand_for_their_values() {
        let filter = BuildFilter {
            component: Some("shop".into()),
            statuses: vec![Status::Failure],
            started_after: Some(1),
            metadata: vec![("branch".into(), "main".into()), ("host".into(), "ci".into())],
            ..filter()
        };
        let query = Query::new(&filter, Some(Cursor::Number(9)));
        assert_eq!(
            query.conditions.join(" AND "),
            "component = $1 AND status = $2 AND started_at > $3 AND branch = $4 AND metadata @> $5::jsonb AND number < $6"
        );
        assert_eq!(query.values.len(), 6);
        let long = BuildFilter { metadata: vec![("user".into(), "x".repeat(CUT))], ..self::filter() };
        let query = Query::new(&long, None);
        assert_eq!(query.conditions.join(" AND "), "user_name = $1 AND metadata @> $2::jsonb");
        assert!(Query::new(&self::filter(), None).conditions.is_empty());
    }
}
