//! What MIDI files say, feature by feature, in files made byte for byte.

mod midi_bytes;

use famam_shared::instrument::Instrument;
use famam_shared::midi::{self, ReadError};
use famam_shared::score::{Key, Metre, Score, Tempo, Ticks, Track};
use midi_bytes::{END, chunk, file, parallel};

fn read(bytes: &[u8]) -> Score {
    midi::read(bytes).unwrap()
}

/// Start, duration, pitch and velocity of each note.
fn notes(track: &Track) -> Vec<(u32, u32, u8, u8)> {
    let fields = |note: &famam_shared::score::Note| {
        (note.start.0, note.duration.0, note.pitch, note.velocity)
    };
    track.notes.iter().map(fields).collect()
}

fn instruments(score: &Score) -> Vec<u8> {
    score
        .tracks
        .iter()
        .map(|track| track.instrument.index())
        .collect()
}

/// A note of 480 ticks at once: 1 quarter in `parallel` files.
const NOTE: [u8; 9] = [0, 0x90, 60, 100, 0x83, 0x60, 0x80, 60, 0];
/// A note-on of channel 1 that has no end.
const OPEN: [u8; 4] = [0, 0x90, 60, 100];

#[test]
fn format_0_gives_a_track_for_each_channel() {
    let events = [
        &[0, 0xFF, 3, 4][..],
        b"Band",
        &[
            0, 0xC1, 33, 0, 0x90, 60, 100, 0, 0x91, 40, 90, 0, 0x99, 36, 80,
        ],
        &[96, 0x80, 60, 0, 0, 0x81, 40, 0, 0, 0x89, 36, 0],
        &END,
    ];
    let score = read(&file(0, 96, &[chunk(&events.concat())]));
    assert_eq!(instruments(&score), [0, 33, 128]);
    assert!(score.tracks.iter().all(|track| track.name == "Band"));
    assert_eq!(notes(&score.tracks[1]), [(0, 960, 40, 90)]);
    assert_eq!(score.end, Ticks(960));
}

#[test]
fn format_1_has_one_time_for_all_tracks() {
    let conductor = [
        &[0, 0xFF, 0x51, 3, 0x09, 0x27, 0xC0][..], // 100 quarters a minute
        &[0, 0xFF, 0x58, 4, 6, 3, 24, 8],          // 6/8
        &[0, 0xFF, 0x59, 2, 0xFD, 1],              // three flats, minor
        &[0x83, 0x60, 0xFF, 0x51, 3, 0x07, 0xA1, 0x20],
        &[0, 0xFF, 0x51, 3, 0x0F, 0x42, 0x40], // at the same place: the last one holds
        &[0, 0xFF, 0x51, 3, 0, 0, 0],          // no tempo at all
        &[0, 0xFF, 0x58, 4, 0, 3, 24, 8],      // no metre at all
        &[0, 0xFF, 0x59, 2, 9, 0],             // no key at all
    ];
    let score = read(&parallel(&[&conductor.concat(), &NOTE]));
    let tempo = |at, micros_per_quarter| Tempo {
        at: Ticks(at),
        micros_per_quarter,
    };
    assert_eq!(score.tempos, [tempo(0, 600_000), tempo(960, 1_000_000)]);
    assert_eq!(
        score.metres,
        [Metre {
            at: Ticks(0),
            numerator: 6,
            denominator: 8
        }]
    );
    assert_eq!(
        score.keys,
        [Key {
            at: Ticks(0),
            fifths: -3,
            minor: true
        }]
    );
    assert_eq!(notes(&score.tracks[0]), [(0, 960, 60, 100)]);
}

#[test]
fn format_2_plays_its_patterns_one_after_another() {
    let tempo = [0, 0xFF, 0x51, 3, 0x09, 0x27, 0xC0];
    let first = [&tempo[..], &NOTE, &[0x83, 0x60, 0xFF, 0x2F, 0]].concat();
    let second = [&NOTE[..], &END].concat();
    let score = read(&file(2, 480, &[chunk(&first), chunk(&second)]));
    assert_eq!(notes(&score.tracks[0]), [(0, 960, 60, 100)]);
    assert_eq!(notes(&score.tracks[1]), [(1920, 960, 60, 100)]);
    assert_eq!(score.tempo_at(Ticks(1919)), 600_000);
    assert_eq!(score.tempo_at(Ticks(1920)), Tempo::DEFAULT_MICROS);
    assert_eq!(
        score.bars().map(|bar| bar.start.0).collect::<Vec<_>>(),
        [0, 1920]
    );
}

#[test]
fn ticks_go_to_the_nearest_of_the_grid() {
    // 7 ticks a quarter: tick 1 is 137.14, tick 4 is 548.57 of the score's.
    let events = [1, 0x90, 60, 100, 3, 0x80, 60, 0, 0, 0xFF, 0x2F, 0];
    let score = read(&file(0, 7, &[chunk(&events)]));
    assert_eq!(notes(&score.tracks[0]), [(137, 549 - 137, 60, 100)]);
}

#[test]
fn smpte_time_is_seconds_at_120_and_takes_no_tempo() {
    let tempo = [0, 0xFF, 0x51, 3, 0x0F, 0x42, 0x40];
    // 1000 ticks.
    let note = [0, 0x90, 60, 100, 0x87, 0x68, 0x80, 60, 0];
    let chunks = [chunk(&[&tempo[..], &note, &END].concat())];
    for (frames, per_frame, duration) in [
        (25, 40, 1920), // a second
        (24, 80, 1000), // 1000 / 1920 of a second
        (30, 100, 640), // a third
        (29, 100, 641), // 29.97 frames: 0.1 % longer
    ] {
        let division = u16::from_be_bytes([(-frames_i8(frames)) as u8, per_frame]);
        let score = read(&file(1, division, &chunks));
        assert_eq!(
            notes(&score.tracks[0]),
            [(0, duration, 60, 100)],
            "{frames} frames"
        );
        assert_eq!(score.tempos, []);
    }
}

fn frames_i8(frames: u8) -> i8 {
    i8::try_from(frames).unwrap()
}

#[test]
fn running_status_and_velocity_0_are_understood() {
    let events = [0, 0x90, 60, 100, 10, 60, 0, 10, 62, 90, 10, 62, 0];
    let score = read(&parallel(&[&events]));
    assert_eq!(
        notes(&score.tracks[0]),
        [(20, 20, 60, 100), (60, 20, 62, 90)].map(|n| {
            // Starts after a delta of 0 and 20 ticks of 480 a quarter.
            (n.0 - 20, n.1, n.2, n.3)
        })
    );
}

#[test]
fn running_status_survives_a_meta_event_and_sysex() {
    let events = [
        0, 0x90, 60, 100, 0, 0xFF, 1, 1, b'x', 10, 60, 0, // a text, then data without status
        0, 62, 90, 0, 0xF0, 2, 1, 0xF7, 10, 62, 0,
    ];
    let score = read(&parallel(&[&events]));
    assert_eq!(
        notes(&score.tracks[0]),
        [(0, 20, 60, 100), (20, 20, 62, 90)]
    );
}

#[test]
fn the_first_end_is_of_the_first_beginning() {
    let events = [
        0, 0x90, 60, 100, 10, 60, 90, 10, 0x80, 60, 0, 10, 60, 0, // overlapping
        10, 60, 0, // an end of nothing
        0, 0x90, 64, 80, 5, 64, 70, 0, 64, 0, 5, 64, 0, // beginning before the end, together
        0, 67, 60, 0, 67, 0, // no length
    ];
    let score = read(&parallel(&[&events]));
    assert_eq!(
        notes(&score.tracks[0]),
        [
            (0, 40, 60, 100),
            (20, 40, 60, 90),
            (80, 10, 64, 80),
            (90, 10, 64, 70),
            (100, 1, 67, 60)
        ]
    );
}

#[test]
fn what_is_not_ended_ends_with_its_track() {
    let score = read(&parallel(&[
        &[&OPEN[..], &[0x83, 0x60, 0xB0, 7, 99]].concat(),
        &NOTE,
    ]));
    assert_eq!(notes(&score.tracks[0]), [(0, 960, 60, 100)]);
    assert_eq!(
        notes(&read(&parallel(&[&OPEN])).tracks[0]),
        [(0, 1, 60, 100)]
    );
}

#[test]
fn notes_of_one_moment_are_sorted_by_pitch_whatever_the_file_says() {
    let events = [
        0, 0x90, 67, 1, 0, 60, 2, 0, 64, 3, 96, 60, 0, 0, 64, 0, 0, 67, 0,
    ];
    let score = read(&parallel(&[&events]));
    assert_eq!(
        score.tracks[0]
            .notes
            .iter()
            .map(|n| n.pitch)
            .collect::<Vec<_>>(),
        [60, 64, 67]
    );
    assert!(score.tracks[0].notes.is_sorted());
}

#[test]
fn a_program_change_sends_what_follows_to_another_track() {
    let events = [
        0, 0xC0, 24, 0, 0x90, 60, 100, // a guitar's note, which the next program does not cut
        10, 0xC0, 73, 0, 0x90, 64, 90, 10, 0x80, 60, 0, 0, 64, 0, //
        0, 0xC0, 24, 0, 0x90, 67, 80, 10, 67, 0, // the guitar again
        0, 0xC9, 8, 0, 0x99, 36, 70, 0, 0xC9, 25, 0, 0x99, 38, 70, 10, 36, 0, 0, 38, 0,
    ];
    let score = read(&parallel(&[&events]));
    assert_eq!(instruments(&score), [24, 73, 128]);
    assert_eq!(
        notes(&score.tracks[0]),
        [(0, 40, 60, 100), (40, 20, 67, 80)]
    );
    assert_eq!(notes(&score.tracks[1]), [(20, 20, 64, 90)]);
    assert_eq!(score.tracks[2].notes.len(), 2);
}

#[test]
fn a_track_without_programs_takes_those_of_its_channel() {
    let harp = [0, 0xC0, 46];
    let flute = [&[0, 0xC0, 73][..], &NOTE].concat();
    // The two staves of one harp, a flute that reuses the channel, and the harp's channel again.
    let score = read(&parallel(&[&harp, &NOTE, &NOTE, &flute, &NOTE]));
    assert_eq!(instruments(&score), [46, 46, 73, 73]);
    // Only a later track says what plays; and the programs change in the middle.
    let later = [0, 0xC0, 40, 0x83, 0x60, 0xC0, 41];
    let twice = [&NOTE[..], &NOTE].concat();
    let score = read(&parallel(&[&twice, &later]));
    assert_eq!(instruments(&score), [40, 41]);
    assert_eq!(notes(&score.tracks[1]), [(960, 960, 60, 100)]);
    // Nobody says anything.
    assert_eq!(instruments(&read(&parallel(&[&NOTE]))), [0]);
}

#[test]
fn several_tracks_on_one_channel_stay_several() {
    let other = [&[0, 0xFF, 3, 4][..], b"Left", &[0, 0xC0, 5], &OPEN].concat();
    let score = read(&parallel(&[&NOTE, &other]));
    assert_eq!(score.tracks.len(), 2);
    assert_eq!(score.tracks[1].name, "Left");
    // The other track's end of the same pitch is none of its.
    assert_eq!(notes(&score.tracks[0]), [(0, 960, 60, 100)]);
    assert_eq!(score.tracks[1].instrument, Instrument::new(5).unwrap());
}

#[test]
fn names_are_utf_8_or_latin_1() {
    let named = |name: &[u8]| {
        let events = [&[0, 0xFF, 3, name.len() as u8][..], name, &NOTE].concat();
        read(&parallel(&[&events])).tracks[0].name.clone()
    };
    assert_eq!(named("Flöte".as_bytes()), "Flöte");
    assert_eq!(named(b"Fl\xF6te"), "Flöte");
}

#[test]
fn wrappers_and_junk_around_the_file_do_not_matter() {
    let midi = parallel(&[&NOTE]);
    let whole = read(&midi);
    let length = (midi.len() as u32).to_le_bytes();
    let size = (midi.len() as u32 + 12).to_le_bytes();
    let riff = [b"RIFF", &size[..], b"RMIDdata", &length, &midi].concat();
    assert_eq!(read(&riff), whole);
    assert_eq!(
        read(&[&riff[..], b"DISP\x04\0\0\0\x01\0\0\0"].concat()),
        whole
    );
    assert_eq!(read(&[&[0; 128][..], &midi].concat()), whole);
    assert_eq!(read(&[&midi[..], b"<!-- saved -->"].concat()), whole);
    let alien = [&midi[..14], b"Junk\0\0\0\x03abc", &midi[14..]].concat();
    assert_eq!(read(&alien), whole);
}

#[test]
fn a_missing_end_and_wrong_lengths_are_survived() {
    let whole = read(&parallel(&[&NOTE, &NOTE]));
    assert_eq!(read(&file(1, 480, &[chunk(&NOTE), chunk(&NOTE)])), whole);
    for off in [-1i32, 1, 1000] {
        let mut bytes = parallel(&[&NOTE, &NOTE]);
        let length = NOTE.len() as i32 + 4 + off;
        bytes[18..22].copy_from_slice(&length.to_be_bytes());
        assert_eq!(read(&bytes), whole, "first track's length off by {off}");
    }
    // A file that ends inside its last track keeps what came before.
    let bytes = parallel(&[&NOTE, &NOTE]);
    let cut = read(&bytes[..bytes.len() - 9]);
    assert_eq!(cut.note_count(), 2);
    assert_eq!(notes(&cut.tracks[0]), [(0, 960, 60, 100)]);
}

#[test]
fn events_that_no_file_may_hold_are_skipped() {
    let whole = notes(&read(&parallel(&[&NOTE])).tracks[0]);
    for strange in [
        &[0, 0xF1, 5][..],
        &[0, 0xF2, 5, 6],
        &[0, 0xF3, 5],
        &[0, 0xF4],
        &[0, 0xF8],
        &[0, 0xFE],
        &[0, 0xB0, 7, 200],
        &[0, 0xE0, 255, 255],
        &[0, 0xC0, 200],
        &[0, 0xFF, 0x59, 1, 0],                  // a key of one byte
        &[0, 0xFF, 0x54, 5, 99, 99, 99, 99, 99], // no time of day
        &[0, 0xFF, 0x51, 1, 9],                  // a tempo of one byte
    ] {
        let score = read(&parallel(&[&[strange, &NOTE].concat()]));
        assert_eq!(notes(&score.tracks[0]), whole, "{strange:02X?}");
    }
}

#[test]
fn what_cannot_be_read_says_why() {
    let header = |error: Result<Score, ReadError>| matches!(error, Err(ReadError::Header(_)));
    assert_eq!(midi::read(b""), Err(ReadError::NotMidi));
    assert_eq!(
        midi::read(b"<html>no such song</html>"),
        Err(ReadError::NotMidi)
    );
    assert!(header(midi::read(b"MThd")));
    assert!(header(midi::read(&file(7, 480, &[chunk(&NOTE)]))));
    assert!(header(midi::read(&file(1, 0, &[chunk(&NOTE)]))));
    assert!(header(midi::read(&file(1, 0x8000, &[chunk(&NOTE)]))));
    assert!(header(midi::read(&file(1, 0xE700, &[chunk(&NOTE)]))));
    assert_eq!(midi::read(&file(1, 480, &[])), Err(ReadError::NoTracks));
    let damaged = [chunk(&END), chunk(&[0, 0x90, 200, 1])];
    assert_eq!(
        midi::read(&file(1, 480, &damaged)),
        Err(ReadError::Damaged { track: 2, byte: 0 })
    );
    let pause = [0xFF, 0xFF, 0xFF, 0x7F, 0xB0, 1, 1];
    let long = midi::read(&parallel(&[&NOTE, &[pause; 5].concat()]));
    assert_eq!(long, Err(ReadError::TooLong { track: 2 }));
    // Nothing to hear is no damage.
    assert_eq!(read(&parallel(&[&[]])), Score::default());
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("broken song.mid");
    let message = midi::read_file(&path).unwrap_err().to_string();
    assert!(message.contains("broken song.mid"), "{message}");
    std::fs::write(
        &path,
        file(1, 480, &[chunk(&END), chunk(&[0, 0x90, 200, 1])]),
    )
    .unwrap();
    let message = midi::read_file(&path).unwrap_err().to_string();
    assert!(
        message.contains("broken song.mid") && message.contains("track 2"),
        "{message}"
    );
    let file = std::fs::File::create(&path).unwrap();
    file.set_len(midi::MAX_FILE_BYTES + 1).unwrap();
    let message = midi::read_file(&path).unwrap_err().to_string();
    assert!(
        message.contains("broken song.mid") && message.contains("larger"),
        "{message}"
    );
}
