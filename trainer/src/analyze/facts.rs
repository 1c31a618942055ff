//! What is in one file.

use famam_shared::key::{self, Tonality};
use famam_shared::score::{Metre, Note, Score, TICKS_PER_QUARTER, Tempo, Ticks};
use serde::Serialize;

/// What is in one file.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Facts {
    /// Its path in its folder.
    pub name: String,
    /// What a table says that it is.
    pub genre: Option<String>,
    /// How long it is, up to its last note's end.
    pub seconds: f64,
    /// Bars, as many as it takes to hold its notes.
    pub bars: usize,
    /// The mean tempo in quarters a minute, up to its last note's end.
    pub tempo: f64,
    /// The slowest and the fastest tempo while there are notes.
    pub tempos: [f64; 2],
    /// Its metres in order, without repeats.
    pub metres: Vec<String>,
    /// The first key that it states.
    pub key: Option<String>,
    /// The key that its pitches make likely.
    pub likely_key: Option<String>,
    /// Notes.
    pub notes: usize,
    /// Tracks with notes.
    pub tracks: usize,
    /// What plays, each once.
    pub instruments: Vec<&'static str>,
    /// Notes that sound at once, drums apart: the mean over the time when there are some.
    pub polyphony: f64,
    /// The most that sound at once.
    pub most_notes_at_once: usize,
    /// Quarters of each pitch class from C on, drums apart.
    pub pitch_classes: [f64; 12],
    /// A file before it that is the same after quantization.
    pub duplicate_of: Option<String>,
}

impl Facts {
    /// Of a score.
    pub fn new(score: &Score, name: String, genre: Option<String>) -> Self {
        let notes = || score.tracks.iter().flat_map(|track| &track.notes);
        let end = notes().map(Note::end).max().unwrap_or_default();
        let seconds = score.seconds_at(end);
        let whole = Score {
            metres: score.metres.clone(),
            end,
            ..Score::default()
        };
        let mut metres: Vec<String> = Vec::new();
        let stated = score.metres.iter().filter(|metre| metre.at < end);
        let first = match score.metres.first() {
            Some(metre) if metre.at == Ticks(0) => None,
            _ => Some(&Metre::COMMON),
        };
        for metre in first.into_iter().chain(stated) {
            let name = format!("{}/{}", metre.numerator, metre.denominator);
            if !metres.contains(&name) {
                metres.push(name);
            }
        }
        let mut instruments: Vec<_> = score
            .tracks
            .iter()
            .filter(|track| !track.notes.is_empty())
            .map(|track| track.instrument)
            .collect();
        let tracks = instruments.len();
        instruments.sort_unstable();
        instruments.dedup();
        let pitch_classes = key::pitch_classes(score);
        let (polyphony, most_notes_at_once) = polyphony(score);
        Self {
            name,
            genre,
            seconds,
            bars: whole.bars().count(),
            tempo: if seconds > 0.0 {
                60.0 * f64::from(end.0) / f64::from(TICKS_PER_QUARTER) / seconds
            } else {
                0.0
            },
            tempos: tempos(score, end),
            metres,
            key: score
                .keys
                .first()
                .map(|key| Tonality::of_signature(key.fifths, key.minor).to_string()),
            likely_key: key::likely(&pitch_classes).map(|(key, _)| key.to_string()),
            notes: score.note_count(),
            tracks,
            instruments: instruments.into_iter().map(|i| i.name()).collect(),
            polyphony,
            most_notes_at_once,
            pitch_classes,
            duplicate_of: None,
        }
    }
}

/// The slowest and the fastest tempo before `end`, in quarters a minute.
fn tempos(score: &Score, end: Ticks) -> [f64; 2] {
    let begin = Tempo {
        at: Ticks(0),
        micros_per_quarter: score.tempo_at(Ticks(0)),
    };
    let later = score.tempos.iter().filter(|tempo| tempo.at < end);
    let all = [&begin].into_iter().chain(later);
    all.map(Tempo::quarters_per_minute)
        .fold([f64::INFINITY, 0.0], |[slow, fast], tempo| {
            [slow.min(tempo), fast.max(tempo)]
        })
}

/// The mean number of notes that sound while some do, and the most; drums apart.
fn polyphony(score: &Score) -> (f64, usize) {
    let pitched = score.tracks.iter().filter(|t| !t.instrument.is_drums());
    let mut changes: Vec<(Ticks, i64)> = pitched
        .flat_map(|track| &track.notes)
        .flat_map(|note| [(note.start, 1), (note.end(), -1)])
        .collect();
    // Ends before starts at one tick.
    changes.sort_unstable();
    let (mut now, mut most) = (0i64, 0i64);
    let (mut area, mut time, mut last) = (0.0, 0.0, Ticks(0));
    for (at, change) in changes {
        let passed = f64::from((at - last).0);
        if now > 0 {
            area += now as f64 * passed;
            time += passed;
        }
        (now, last) = (now + change, at);
        most = most.max(now);
    }
    (if time > 0.0 { area / time } else { 0.0 }, most as usize)
}

#[cfg(test)]
mod tests {
    use famam_shared::instrument::Instrument;
    use famam_shared::score::{Key, Track};

    use super::*;

    #[test]
    fn facts_are_those_of_the_score() {
        let note = |start: u32, pitch, duration: u32| Note {
            start: Ticks(start * 960),
            pitch,
            duration: Ticks(duration * 960),
            velocity: 80,
        };
        let track = |index, notes| Track {
            instrument: Instrument::new(index).unwrap(),
            name: String::new(),
            notes,
        };
        let score = Score {
            tracks: vec![
                track(0, vec![note(0, 60, 4), note(0, 64, 2), note(4, 67, 2)]),
                track(0, vec![note(6, 60, 3)]),
                track(128, vec![note(0, 36, 1), note(0, 42, 1)]),
                track(40, Vec::new()),
            ],
            tempos: vec![
                Tempo {
                    at: Ticks(0),
                    micros_per_quarter: 500_000,
                },
                Tempo {
                    at: Ticks(4 * 960),
                    micros_per_quarter: 1_000_000,
                },
            ],
            metres: vec![Metre {
                at: Ticks(0),
                numerator: 3,
                denominator: 4,
            }],
            keys: vec![Key {
                at: Ticks(0),
                fifths: 1,
                minor: true,
            }],
            end: Ticks(960_000),
        };
        let facts = Facts::new(&score, "a".to_owned(), None);
        assert!((facts.seconds - 7.0).abs() < 1e-9);
        assert_eq!(facts.bars, 3);
        assert!((facts.tempo - 60.0 * 9.0 / 7.0).abs() < 1e-9);
        assert_eq!(facts.tempos, [60.0, 120.0]);
        assert_eq!(facts.metres, ["3/4"]);
        assert_eq!(facts.key.as_deref(), Some("E minor"));
        assert_eq!((facts.notes, facts.tracks), (6, 3));
        assert_eq!(facts.instruments, ["Acoustic Grand Piano", "Drums"]);
        assert_eq!(facts.most_notes_at_once, 2);
        assert!((facts.polyphony - 11.0 / 9.0).abs() < 1e-9);
        assert_eq!(facts.pitch_classes[0], 7.0);
        assert_eq!(facts.pitch_classes[4], 2.0);
        let empty = Facts::new(&Score::default(), "b".to_owned(), None);
        assert_eq!((empty.notes, empty.tempo, empty.likely_key), (0, 0.0, None));
        assert_eq!(empty.metres, ["4/4"]);
    }
}
