//! Events that no MIDI file may hold, but some do, and that can be skipped safely: system messages,
//! controller and program values above 127, meta events shorter than their kind.

use midly::num::u28;
use midly::{TrackEvent, TrackEventKind};

/// The time of an event that midly refuses, with nothing in it, and the bytes after it.
///
/// `None` where reading on would give noise: a note with data above 127 and bytes without a status
/// both say that the track is out of step.
pub(super) fn skip(bytes: &[u8], running: Option<u8>) -> Option<(TrackEvent<'static>, &[u8])> {
    let (delta, rest) = variable_length(bytes)?;
    let (status, rest) = match rest.split_first()? {
        (&status @ 0x80.., rest) => (status, rest),
        _ => (running?, rest),
    };
    let rest = match status {
        0xA0..=0xBF | 0xE0..=0xEF | 0xF2 => rest.get(2..)?,
        0xC0..=0xDF | 0xF1 | 0xF3 => rest.get(1..)?,
        0xFF => {
            let (length, data) = variable_length(rest.get(1..)?)?;
            data.get(length as usize..)?
        }
        0xF4..=0xF6 | 0xF8..=0xFE => rest,
        _ => return None,
    };
    Some((
        TrackEvent {
            delta: u28::new(delta),
            kind: TrackEventKind::Escape(&[]),
        },
        rest,
    ))
}

/// A number of up to four bytes, and the bytes after it.
fn variable_length(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let mut number = 0;
    for (i, &byte) in bytes.iter().enumerate().take(4) {
        number = number << 7 | u32::from(byte & 0x7F);
        if byte < 0x80 {
            return Some((number, &bytes[i + 1..]));
        }
    }
    None
}
