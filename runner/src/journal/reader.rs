//! Reading a journal, also one that is being written, and one whose end is torn.

use std::{
    fs::File,
    io::{self, BufReader, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use crate::{
    build::Build,
    chain::Hash,
    engine::ports::Tail,
    event::{Event, Payload, Record},
    journal::format::{self, Corruption, FRAME_LEN, Frame, HEADER_LEN},
};

/// Reads records one by one.
pub struct Reader {
    file: BufReader<File>,
    offset: u64,
    body: Vec<u8>,
    torn: Option<Corruption>,
}

impl Reader {
    /// Opens a journal. Corrupt is only what can't be a journal at all.
    pub fn open(path: &Path) -> io::Result<Self> {
        Reader::buffered(path, 256 << 10)
    }

    /// [`Reader::open`] for who reads only so many bytes.
    pub(crate) fn buffered(path: &Path, bytes: usize) -> io::Result<Self> {
        let mut file = BufReader::with_capacity(bytes, File::open(path)?);
        let mut header = [0; HEADER_LEN];
        let read = read_up_to(&mut file, &mut header)?;
        if header.starts_with(&format::header()[..read]) && read < HEADER_LEN {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "nothing was written to the journal"));
        }
        format::check_header(&header).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        Ok(Reader { file, offset: HEADER_LEN as u64, body: Vec::new(), torn: None })
    }

    /// The next record; `None` at the end of what is whole. What follows a damaged record is not read: each
    /// record only means something after the ones before it. [`Reader::torn`] says whether there was one.
    pub fn next_record(&mut self) -> io::Result<Option<Record>> {
        self.next(Frame::decode)
    }

    fn next<T>(
        &mut self,
        decode: impl FnOnce(&Frame, &[u8], u64) -> Result<T, Corruption>,
    ) -> io::Result<Option<T>> {
        if self.torn.is_some() {
            return Ok(None);
        }
        let mut frame = [0; FRAME_LEN];
        let read = read_up_to(&mut self.file, &mut frame)?;
        if read == 0 {
            return Ok(None);
        }
        if read < FRAME_LEN {
            self.torn = Some(Corruption::Record { offset: self.offset, what: "it is cut short" });
            return Ok(None);
        }
        let decoded = match Frame::parse(frame, self.offset) {
            Ok(frame) => {
                self.body.resize(frame.length, 0);
                let read = read_up_to(&mut self.file, &mut self.body)?;
                decode(&frame, &self.body[..read], self.offset)
            }
            Err(corruption) => Err(corruption),
        };
        match decoded {
            Ok(decoded) => {
                self.offset += (FRAME_LEN + self.body.len()) as u64;
                Ok(Some(decoded))
            }
            Err(corruption) => {
                self.torn = Some(corruption);
                Ok(None)
            }
        }
    }

    /// The next event; see [`Reader::next_record`].
    pub fn next_event(&mut self) -> io::Result<Option<Event>> {
        Ok(self.next_record()?.map(Record::into_event))
    }

    /// Looks again behind the last whole record: a writer may have added to it.
    pub fn again(&mut self) -> io::Result<()> {
        self.torn = None;
        self.file.seek(SeekFrom::Start(self.offset)).map(drop)
    }

    /// Whether the damage can be that of a write which was cut off: nothing follows it but zeros, which some file
    /// systems leave. Reads to the end.
    pub(crate) fn is_cut_off(&mut self) -> io::Result<bool> {
        let mut rest = [0; 8 << 10];
        loop {
            match read_up_to(&mut self.file, &mut rest)? {
                0 => return Ok(true),
                read if rest[..read].iter().any(|byte| *byte != 0) => return Ok(false),
                _ => {}
            }
        }
    }

    /// Where the last whole record that was read ends.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// The damage at which reading ended. In the journal of a running build this is a record that is just
    /// being written.
    pub fn torn(&self) -> Option<&Corruption> {
        self.torn.as_ref()
    }
}

/// What all events of the journal add up to, and the damage that reading ended at.
pub(crate) fn read_build(path: &Path) -> io::Result<(Build, Option<Corruption>)> {
    let mut reader = Reader::open(path)?;
    let mut build = Build::default();
    while let Some(outline) = reader.next(Frame::outline)? {
        outline.apply(&mut build);
    }
    Ok((build, reader.torn))
}

/// Follows a journal, which this process may write meanwhile.
pub struct JournalTail {
    path: PathBuf,
    reader: Reader,
    next: u64,
    /// What was read adds up to this.
    build: Build,
    hash: Hash,
}

impl JournalTail {
    /// From the journal's start.
    pub fn open(path: &Path) -> io::Result<Self> {
        let reader = Reader::open(path)?;
        Ok(JournalTail {
            path: path.to_owned(),
            reader,
            next: 0,
            build: Build::default(),
            hash: Hash::default(),
        })
    }

    /// Goes on to record `end`, without unpacking or keeping anything.
    fn pass(&mut self, end: u64) -> io::Result<()> {
        while self.next < end {
            let outline = self.reader.next(Frame::outline)?.ok_or_else(not_there)?;
            (self.next, self.hash) = (self.next + 1, outline.hash());
            outline.apply(&mut self.build);
        }
        Ok(())
    }
}

impl Tail for JournalTail {
    fn read(&mut self, from: u64, end: u64, bytes: usize) -> io::Result<Vec<Record>> {
        if from < self.next {
            *self = JournalTail::open(&self.path)?;
        }
        self.pass(from)?;
        let mut records = Vec::new();
        let mut size = 0;
        while self.next < end && size < bytes {
            let record = self.reader.next_record()?.ok_or_else(not_there)?;
            (self.next, self.hash) = (record.seq + 1, record.hash);
            match &record.payload {
                Payload::Bytes(bytes) => {
                    size += bytes.len();
                    let step = record.step.as_deref().unwrap_or_default();
                    self.build.count_output(step, record.at, bytes.len() as u64);
                }
                Payload::Json(text) => {
                    // With a rough price of its own: bounds the number of small events.
                    size += text.len() + 512;
                    self.build.apply(&record.clone().into_event());
                }
            }
            records.push(record);
        }
        Ok(records)
    }

    fn build(&mut self, end: u64) -> io::Result<(&Build, Hash)> {
        if end < self.next {
            *self = JournalTail::open(&self.path)?;
        }
        self.pass(end)?;
        Ok((&self.build, self.hash))
    }
}

fn not_there() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "an event that was written is not there")
}

fn read_up_to(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match from.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
