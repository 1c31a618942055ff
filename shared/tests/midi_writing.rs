//! What is written can be read, by Famam and by others.

mod midi_bytes;

use std::collections::BTreeSet;

use famam_shared::instrument::Instrument;
use famam_shared::midi;
use famam_shared::quantize::{Settings, quantize};
use famam_shared::score::{Note, Score, Ticks, Track};
use midi_bytes::{named, random_score};
use midly::{MetaMessage, MidiMessage, Smf, TrackEventKind};

#[test]
fn reading_what_was_written_gives_the_score() {
    for seed in 0..2_000 {
        let score = random_score(seed);
        let again = midi::read(&midi::write(&score));
        assert_eq!(again, Ok(named(score)), "seed {seed}");
    }
}

#[test]
fn reading_what_was_quantized_and_written_gives_it_back() {
    for seed in 0..500 {
        let (quantized, _) = quantize(&random_score(seed), &Settings::default());
        assert_eq!(
            midi::read(&midi::write(&quantized)).as_ref(),
            Ok(&quantized),
            "seed {seed}"
        );
    }
}

#[test]
fn a_file_gives_back_what_it_was_given() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("song.mid");
    let score = random_score(7);
    midi::write_file(&path, &score).unwrap();
    assert_eq!(midi::read_file(&path).unwrap(), named(score));
}

#[test]
fn a_track_without_a_name_is_called_by_its_instrument() {
    let mut score = score_of([33, 128, 0]);
    score.tracks[0].name = String::new();
    score.tracks[1].name = String::new();
    score.tracks[2].name = "Left hand".to_owned();
    let names: Vec<String> = parts(&midi::write(&score))
        .into_iter()
        .map(|(name, ..)| name)
        .collect();
    let [bass, drums] = [33, 128].map(|i| Instrument::new(i).unwrap().name().to_owned());
    assert_eq!(names, [bass, drums, "Left hand".to_owned()]);
}

/// One short note for each of `programs`.
fn score_of(programs: impl IntoIterator<Item = u8>) -> Score {
    let note = Note {
        start: Ticks(0),
        pitch: 60,
        duration: Ticks(240),
        velocity: 90,
    };
    let tracks = programs
        .into_iter()
        .map(|program| Instrument::new(program).unwrap())
        .map(|instrument| Track {
            instrument,
            name: instrument.name().to_owned(),
            notes: vec![note],
        })
        .collect();
    Score {
        tracks,
        end: Ticks(240),
        ..Score::default()
    }
}

/// Name, channel and program of each track after the first.
fn parts(bytes: &[u8]) -> Vec<(String, u8, u8)> {
    let smf = Smf::parse(bytes).unwrap();
    let part = |track: &Vec<midly::TrackEvent<'_>>| {
        let name = track.iter().find_map(|event| match event.kind {
            TrackEventKind::Meta(MetaMessage::TrackName(name)) => Some(name),
            _ => None,
        });
        let set = track.iter().find_map(|event| match event.kind {
            TrackEventKind::Midi {
                channel,
                message: MidiMessage::ProgramChange { program },
            } => Some((channel.as_int(), program.as_int())),
            _ => None,
        });
        let (channel, program) = set.unwrap();
        (
            String::from_utf8(name.unwrap().to_vec()).unwrap(),
            channel,
            program,
        )
    };
    smf.tracks.iter().skip(1).map(part).collect()
}

#[test]
fn fifteen_pitched_instruments_and_drums_have_a_channel_each() {
    let score = score_of((0..15).map(|i| i * 8).chain([128]));
    let parts = parts(&midi::write(&score));
    let channels: BTreeSet<u8> = parts.iter().map(|&(_, channel, _)| channel).collect();
    assert_eq!(channels, (0..16).collect());
    assert_eq!(parts[2], ("Drawbar Organ".to_owned(), 2, 16));
    assert_eq!(parts[15], ("Drums".to_owned(), 9, 0));
}

#[test]
fn more_instruments_share_the_channels_of_their_kind() {
    // Two pianos, then one program of each class, then a second bass (class 4) and a third.
    let programs: Vec<u8> = [0, 0]
        .into_iter()
        .chain((1..15).map(|i| i * 8))
        .chain([35, 38])
        .collect();
    let score = score_of(programs.iter().copied());
    let bytes = midi::write(&score);
    let parts = parts(&bytes);
    assert_eq!(parts[0].1, parts[1].1, "one program, one channel");
    let bass = parts[5].1;
    assert_eq!((parts[5].2, parts[16].1), (32, parts[17].1));
    assert!(parts.iter().all(|&(_, channel, _)| channel != 9));
    assert_ne!(parts[4].1, bass);
    assert_eq!(parts[17].1, parts[16].1);
    // Tracks keep their own program, so nothing is lost for whoever reads tracks.
    assert_eq!(midi::read(&bytes), Ok(score));
    let crowd = score_of(0..128);
    assert_eq!(midi::read(&midi::write(&crowd)), Ok(crowd));
}

#[test]
fn pauses_longer_than_a_delta_time_are_kept() {
    let mut score = score_of([0]);
    score.tracks[0].notes[0].start = Ticks(2_000_000_000);
    score.end = Ticks(2_100_000_000);
    assert_eq!(midi::read(&midi::write(&score)), Ok(score));
}
