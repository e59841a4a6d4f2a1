//! The time zone that times are shown in.

use std::{
    ffi::{OsStr, OsString},
    fs,
    path::{Path, PathBuf},
};

use jiff::tz::TimeZone;

/// Where the zones are, unless `TZDIR` says where.
const PLACES: [&str; 3] = ["/usr/share/zoneinfo", "/usr/share/lib/zoneinfo", "/etc/zoneinfo"];

/// That of `TZ`, or the machine's own, or UTC.
///
/// jiff looks for a zone's name in a database, for which it reads all directories of zones: two or three milliseconds, which
/// each run would take. Here one file is read.
pub fn local() -> TimeZone {
    let variable = |name: &str| std::env::var_os(name);
    zone(variable("TZ"), variable("TZDIR"), Path::new("/etc/localtime"))
}

fn zone(named_so: Option<OsString>, directory: Option<OsString>, machine: &Path) -> TimeZone {
    let zone = match named_so {
        Some(name) => {
            let own = directory.map(PathBuf::from).filter(|directory| directory.is_absolute());
            named(&name, own.into_iter().chain(PLACES.map(PathBuf::from)))
        }
        None => read("", machine),
    };
    zone.unwrap_or(TimeZone::UTC)
}

/// The zone of a file in one of the places: `Europe/Berlin` or `:Europe/Berlin`; or of another file, by its whole path; or
/// that of a rule: `CET-1CEST,M3.5.0,M10.5.0/3`.
fn named(name: &OsStr, mut places: impl Iterator<Item = PathBuf>) -> Option<TimeZone> {
    let name = name.to_str()?;
    let file = name.strip_prefix(':').unwrap_or(name);
    places.find_map(|place| read(file, &place.join(file))).or_else(|| TimeZone::posix(name).ok())
}

fn read(name: &str, path: &Path) -> Option<TimeZone> {
    let bytes = if path.is_file() { fs::read(path).ok()? } else { return None };
    TimeZone::tzif(name, &bytes).ok()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    /// A zone that is two hours ahead of UTC, as `zic` writes it in its first format.
    fn file() -> Vec<u8> {
        let counts = [0_u32, 0, 0, 0, 1, 4].map(u32::to_be_bytes).concat();
        let kind = [&7200_i32.to_be_bytes()[..], &[0, 0]].concat();
        [b"TZif\0", &[0; 15][..], &counts, &kind, b"ABC\0"].concat()
    }

    #[test]
    fn a_zone_is_a_file_of_its_name() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path();
        fs::create_dir(place.join("Area")).unwrap();
        fs::write(place.join("Area/City"), file()).unwrap();
        fs::write(place.join("broken"), "TZif").unwrap();
        let hour = |name: &str| {
            let zone = named(OsStr::new(name), [PathBuf::from("/nowhere"), place.to_owned()].into_iter())?;
            Some(Timestamp::UNIX_EPOCH.to_zoned(zone).hour())
        };
        assert_eq!(hour("Area/City"), Some(2));
        assert_eq!(hour(":Area/City"), Some(2));
        assert_eq!(hour("XYZ-3"), Some(3));
        assert_eq!(hour(place.join("Area/City").to_str().unwrap()), Some(2));
        for none in ["", "Area", "Nowhere", "broken"] {
            assert_eq!(hour(none), None, "{none}");
        }
    }

    #[test]
    fn without_a_name_it_is_the_machines_and_else_utc() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path();
        fs::create_dir(place.join("Area")).unwrap();
        let city = place.join("Area/City");
        fs::write(&city, file()).unwrap();
        let hour = |name: Option<&str>, directory: Option<&Path>, machine: &Path| {
            let zone = zone(name.map(Into::into), directory.map(Into::into), machine);
            Timestamp::UNIX_EPOCH.to_zoned(zone).hour()
        };
        let gone = place.join("gone");
        assert_eq!([hour(None, None, &city), hour(None, None, &gone)], [2, 0]);
        assert_eq!([hour(Some(""), None, &city), hour(Some("Area/City"), None, &city)], [0, 0]);
        assert_eq!(hour(Some("Area/City"), Some(place), &gone), 2);
        assert_eq!(hour(Some("City"), Some(Path::new("Area")), &gone), 0);
    }
}
