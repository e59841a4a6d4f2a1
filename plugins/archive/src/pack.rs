//! Writing archives whose bytes depend on names and contents alone.

use std::fs::File;
use std::io::{self, Read, Seek, Write};

use flate2::{Compression, GzBuilder};
use tar::{EntryType, Header};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

/// Something to pack.
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) content: Content,
}

pub(crate) enum Content {
    /// A file, of this length, that is executable or not.
    File { reader: Box<dyn Read>, length: u64, is_executable: bool },
    /// A symbolic link, by what it says.
    Link(String),
}

/// An archive that grows.
pub(crate) enum Pack {
    TarGz { tar: Box<tar::Builder<flate2::write::GzEncoder<File>>>, mtime: u64 },
    Zip { zip: Box<ZipWriter<File>>, options: SimpleFileOptions },
}

impl Pack {
    /// `mtime`: what every member's time is, in seconds since the Unix epoch.
    pub(crate) fn tar_gz(file: File, level: u32, mtime: u64) -> Self {
        // No name and no time in the header of gzip.
        let gz = GzBuilder::new().mtime(0).write(file, Compression::new(level));
        Self::TarGz { tar: Box::new(tar::Builder::new(gz)), mtime }
    }

    /// See [`Pack::tar_gz`]. A zip file knows no time before 1980.
    pub(crate) fn zip(file: File, level: u32, mtime: u64) -> Self {
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .compression_level(Some(i64::from(level)))
            .last_modified_time(zip_time(mtime));
        Self::Zip { zip: Box::new(ZipWriter::new(file)), options }
    }

    pub(crate) fn add(&mut self, member: Member) -> io::Result<()> {
        let Member { name, content } = member;
        match self {
            Self::TarGz { tar, mtime } => {
                let mut header = Header::new_gnu();
                header.set_mtime(*mtime);
                header.set_uid(0);
                header.set_gid(0);
                match content {
                    Content::File { reader, length, is_executable } => {
                        header.set_size(length);
                        header.set_mode(mode(is_executable));
                        tar.append_data(&mut header, name, exactly(reader, length))
                    }
                    Content::Link(target) => {
                        header.set_entry_type(EntryType::Symlink);
                        header.set_size(0);
                        header.set_mode(0o777);
                        tar.append_link(&mut header, name, target)
                    }
                }
            }
            Self::Zip { zip, options } => match content {
                Content::File { reader, length, is_executable } => {
                    let options = options.unix_permissions(mode(is_executable));
                    zip.start_file(name, options.large_file(length >= u64::from(u32::MAX)))?;
                    io::copy(&mut exactly(reader, length), zip).map(|_| ())
                }
                Content::Link(target) => {
                    Ok(zip.add_symlink(name, target, options.unix_permissions(0o777))?)
                }
            },
        }
    }

    /// The whole archive, from its beginning.
    pub(crate) fn finish(self) -> io::Result<()> {
        let mut file = match self {
            Self::TarGz { tar, .. } => tar.into_inner()?.finish()?,
            Self::Zip { zip, .. } => zip.finish()?,
        };
        file.flush()?;
        file.rewind()
    }
}

fn mode(is_executable: bool) -> u32 {
    if is_executable { 0o755 } else { 0o644 }
}

/// Exactly so many bytes, whatever happens to the file meanwhile: the length is written before them.
fn exactly(reader: impl Read, length: u64) -> impl Read {
    Exactly { reader, left: length }
}

struct Exactly<R> {
    reader: R,
    left: u64,
}

impl<R: Read> Read for Exactly<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if room == 0 {
            return Ok(0);
        }
        match self.reader.read(&mut buffer[..room])? {
            0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it became shorter while it was packed")),
            read => {
                self.left -= read as u64;
                Ok(read)
            }
        }
    }
}

/// UTC, as the calendar has it (Hinnant's `civil_from_days`).
fn zip_time(mtime: u64) -> DateTime {
    let (days, seconds) = (mtime / 86_400 + 719_468, mtime % 86_400);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let small = |number: u64| u8::try_from(number).unwrap_or(u8::MAX);
    let year = u16::try_from(year).unwrap_or(u16::MAX);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    // 1980 to 2107; what is outside of that is at its edge.
    DateTime::from_date_and_time(year, small(month), small(day), small(hour), small(minute), small(second))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zip_times_are_of_the_calendar() {
        let text = |mtime| {
            let time = zip_time(mtime);
            (time.year(), time.month(), time.day(), time.hour(), time.minute(), time.second())
        };
        assert_eq!(text(0), (1980, 1, 1, 0, 0, 0));
        assert_eq!(text(951_782_400), (2000, 2, 29, 0, 0, 0));
        assert_eq!(text(1_700_000_000), (2023, 11, 14, 22, 13, 20));
    }

    #[test]
    fn a_file_that_shrinks_is_an_error() {
        let mut all = Vec::new();
        assert!(exactly(&b"abc"[..], 2).read_to_end(&mut all).is_ok());
        assert_eq!(all, b"ab");
        assert!(exactly(&b"abc"[..], 4).read_to_end(&mut all).is_err());
    }
}
