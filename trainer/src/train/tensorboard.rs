//! Event files as TensorBoard reads them: records of the TFRecord format, each an `Event` of
//! TensorFlow's `event.proto` as protobuf.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use prost::Message;

#[derive(Clone, PartialEq, Message)]
struct Event {
    /// Seconds since 1970.
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(string, optional, tag = "3")]
    file_version: Option<String>,
    #[prost(message, optional, tag = "5")]
    summary: Option<Summary>,
    #[prost(message, optional, tag = "7")]
    session_log: Option<SessionLog>,
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<Value>,
}

#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(string, tag = "1")]
    tag: String,
    /// One of several kinds of value there, so that 0 has to be said.
    #[prost(float, optional, tag = "2")]
    simple_value: Option<f32>,
}

/// Status 1 (START): what other files say of later steps is void.
#[derive(Clone, PartialEq, Message)]
struct SessionLog {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// An event file that grows.
pub(super) struct EventFile {
    file: BufWriter<File>,
}

impl EventFile {
    /// A new file in `folder` for a run that goes on after `step`.
    pub(super) fn create(folder: &Path, step: u64) -> std::io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let (seconds, process) = (now() as u64, std::process::id());
        let name = format!("events.out.tfevents.{seconds:010}.famam.{process}");
        let mut events = Self {
            file: BufWriter::new(File::create(folder.join(name))?),
        };
        events.write(&Event {
            file_version: Some("brain.Event:2".to_owned()),
            ..event(0)
        })?;
        events.write(&Event {
            session_log: Some(SessionLog { status: 1 }),
            ..event(step)
        })?;
        Ok(events)
    }

    /// Numbers by tag at a step.
    pub(super) fn scalars<'a>(
        &mut self,
        step: u64,
        scalars: impl IntoIterator<Item = (&'a str, f64)>,
    ) -> std::io::Result<()> {
        let value = scalars.into_iter().map(|(tag, value)| Value {
            tag: tag.to_owned(),
            simple_value: Some(value as f32),
        });
        self.write(&Event {
            summary: Some(Summary {
                value: value.collect(),
            }),
            ..event(step)
        })
    }

    /// Gives what was written to the system.
    pub(super) fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }

    /// A TFRecord: length, its checksum, data, its checksum.
    fn write(&mut self, event: &Event) -> std::io::Result<()> {
        let data = event.encode_to_vec();
        let length = (data.len() as u64).to_le_bytes();
        for (bytes, checksum) in [(&length[..], masked(&length)), (&data, masked(&data))] {
            self.file.write_all(bytes)?;
            self.file.write_all(&checksum.to_le_bytes())?;
        }
        Ok(())
    }
}

/// The masked CRC-32C of the TFRecord format.
fn masked(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes)
        .rotate_right(15)
        .wrapping_add(0xa282_ead8)
}

fn event(step: u64) -> Event {
    Event {
        wall_time: now(),
        step: step as i64,
        ..Event::default()
    }
}

fn now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0.0, |since| since.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The records of a file, as its readers check them.
    fn records(mut bytes: &[u8]) -> Vec<Event> {
        let mut events = Vec::new();
        while !bytes.is_empty() {
            let (length, rest) = bytes.split_at(8);
            let (checksum, rest) = rest.split_at(4);
            assert_eq!(checksum, masked(length).to_le_bytes());
            let length = u64::from_le_bytes(length.try_into().unwrap());
            let (data, rest) = rest.split_at(length as usize);
            let (checksum, rest) = rest.split_at(4);
            assert_eq!(checksum, masked(data).to_le_bytes());
            events.push(Event::decode(data).unwrap());
            bytes = rest;
        }
        events
    }

    #[test]
    fn the_checksum_is_that_of_the_format() {
        // RFC 3720, section B.4: the CRC-32C of 32 zeros.
        assert_eq!(crc32c::crc32c(&[0; 32]), 0x8a91_36aa);
        // ((crc >> 15) | (crc << 17)) + 0xa282ead8, as tensorflow/core/lib/hash/crc32c.h has it.
        assert_eq!(masked(&[0; 32]), 0x0fd7_fffa);
    }

    #[test]
    fn a_file_holds_what_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let mut events = EventFile::create(folder.path(), 40).unwrap();
        events
            .scalars(41, [("loss/training", 1.5), ("learning_rate", 0.0)])
            .unwrap();
        events.flush().unwrap();
        let mut files = std::fs::read_dir(folder.path()).unwrap();
        let file = files.next().unwrap().unwrap();
        let name = file.file_name().into_string().unwrap();
        assert!(name.starts_with("events.out.tfevents."), "{name}");
        let events = records(&std::fs::read(file.path()).unwrap());
        assert_eq!(events[0].file_version.as_deref(), Some("brain.Event:2"));
        assert_eq!(
            (
                events[1].step,
                events[1].session_log.clone().unwrap().status
            ),
            (40, 1)
        );
        let values = &events[2].summary.as_ref().unwrap().value;
        assert_eq!(events[2].step, 41);
        let values: Vec<_> = values
            .iter()
            .map(|v| (&v.tag[..], v.simple_value))
            .collect();
        assert_eq!(
            values,
            [("loss/training", Some(1.5)), ("learning_rate", Some(0.0))]
        );
    }
}
