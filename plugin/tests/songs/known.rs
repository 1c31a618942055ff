//! What goes on from a file, or fills it in.

use std::path::Path;

use famam_shared::instrument::Instrument;
use famam_shared::midi;
use famam_shared::score::{Metre, Note, Score, Tempo, Ticks, Track};

use crate::program::*;

/// What a user wrote, in the folder: four bars of piano, bass and drums, off any grid.
pub fn write_known(folder: &Path) -> Score {
    let note = |start: u32, pitch: u8, duration: u32| Note {
        start: Ticks(start),
        pitch,
        duration: Ticks(duration),
        velocity: 77,
    };
    let track = |by: u8, name: &str, notes: Vec<Note>| Track {
        instrument: Instrument::new(by).unwrap(),
        name: name.to_owned(),
        notes,
    };
    let chords = [[57, 60, 64], [53, 57, 60], [48, 52, 55], [55, 59, 62]];
    let piano = (0..4)
        .flat_map(|bar| chords[bar as usize].map(|pitch| note(bar * BAR + 7, pitch, BAR - 500)));
    let bass =
        (0..8).map(|half| note(half * BAR / 2 + 3, [33, 29, 36, 31][half as usize / 2], 901));
    let drums = (0..16).map(|beat| note(beat * 960, 36, 100));
    let score = Score {
        tracks: vec![
            track(0, "my piano", piano.collect()),
            track(33, "my bass", bass.collect()),
            track(128, "my drums", drums.collect()),
        ],
        tempos: [(0, 600_000), (BAR + 960, 500_001), (3 * BAR, 555_555)]
            .map(|(at, micros_per_quarter)| Tempo {
                at: Ticks(at),
                micros_per_quarter,
            })
            .into(),
        metres: vec![Metre::COMMON],
        keys: Vec::new(),
        end: Ticks(4 * BAR),
    };
    std::fs::write(folder.join("mine.mid"), midi::write(&score)).unwrap();
    midi::read(&std::fs::read(folder.join("mine.mid")).unwrap()).unwrap()
}

#[test]
fn a_file_goes_on_and_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let known = write_known(here);
    let all = score(here, "--continue mine.mid --bars 3");
    assert_eq!(all.end, Ticks(7 * BAR));
    for track in &known.tracks {
        let same = all
            .tracks
            .iter()
            .find(|other| other.name == track.name)
            .unwrap();
        let kept: Vec<Note> = same
            .notes
            .iter()
            .copied()
            .filter(|note| note.start.0 < 4 * BAR)
            .collect();
        assert_eq!(kept, track.notes);
    }
    assert_eq!(
        all.tempos, known.tempos,
        "the song goes on as its last bar does"
    );
    assert_eq!(players(&all), players(&known));
    let new = score(here, "--continue mine.mid --bars 3 --return new");
    assert_eq!(new.end, Ticks(3 * BAR));
    assert_eq!(new.tempos[0].micros_per_quarter, 555_555);
    for (by, new) in [0, 33, 128].map(|by| (by, notes(&new, by))) {
        let behind = notes(&all, by)
            .into_iter()
            .filter(|note| note.start.0 >= 4 * BAR);
        let moved = behind.map(|note| Note {
            start: note.start - Ticks(4 * BAR),
            ..note
        });
        assert!(!new.is_empty());
        assert_eq!(moved.collect::<Vec<_>>(), new);
    }
    // From two bars on, by bars or by tokens, other music follows at another place.
    let two = score(here, "--continue mine.mid --bars 1 --from-bar 2");
    assert_eq!(two.end, Ticks(3 * BAR));
    let told = said(
        here,
        "--continue mine.mid --bars 1 --from-bar 2 --seed 5 --tokens -o two.mid",
    );
    let tokens = told
        .lines()
        .find(|line| line.starts_with(|c: char| c.is_ascii_digit()))
        .unwrap();
    let ends: Vec<usize> = tokens
        .split(' ')
        .enumerate()
        .filter(|(_, token)| *token == "3")
        .map(|(i, _)| i)
        .collect();
    let three = score(
        here,
        &format!("--continue mine.mid --bars 1 --first-tokens {}", ends[2]),
    );
    assert_eq!(three.end, Ticks(3 * BAR), "two bars and one more");
    // Its own chords, over what follows.
    let chords = score(
        here,
        "--continue mine.mid --bars 4 --chords from --return new",
    );
    let classes = [[9, 0, 4], [5, 9, 0], [0, 4, 7], [7, 11, 2]];
    let on_beats = pitched(&chords).filter(|note| note.start.0 % 960 == 0);
    for note in on_beats {
        let chord = classes[(note.start.0 / BAR) as usize];
        assert!(chord.contains(&(note.pitch % 12)), "{note:?}");
    }
}

#[test]
fn tokens_that_are_printed_go_on_as_the_music_does() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let told = said(here, "--bars 2 --genre rock --seed 5 --tokens -o first.mid");
    let line = told
        .lines()
        .find(|line| line.starts_with(|c: char| c.is_ascii_digit()))
        .unwrap();
    std::fs::write(here.join("first.tokens"), line).unwrap();
    let [mut by_tokens, mut by_file] = ["--continue-tokens first.tokens", "--continue first.mid"]
        .map(|from| score(here, &format!("{from} --bars 2 --return new")));
    assert!(by_tokens.note_count() > 5);
    // Tokens name the instruments in another order than a file's tracks.
    for score in [&mut by_tokens, &mut by_file] {
        score.tracks.sort_by_key(|track| track.instrument);
    }
    assert_eq!(by_tokens.tracks, by_file.tracks);
    for (text, words) in [
        ("1 2 x", "\"x\" is no token"),
        ("3 3 3", "says no music in this model's encoding"),
        ("1 65535", "says no music in this model's encoding"),
        ("", "has no notes"),
    ] {
        std::fs::write(here.join("wrong.tokens"), text).unwrap();
        let output = famam(here, "--continue-tokens wrong.tokens -o none.mid");
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.contains(words), "{text}: {error}");
    }
}

#[test]
fn cells_are_written_anew_and_all_others_stay() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let known = write_known(here);
    let before = cells(&known);
    let check = |arguments: &str, wanted: &dyn Fn(u32, u8) -> bool| {
        let score = score(here, &format!("--continue mine.mid {arguments}"));
        assert_eq!(score.end, known.end, "{arguments}");
        assert_eq!(score.tempos, known.tempos, "{arguments}");
        let after = cells(&score);
        for (&(bar, by), notes) in &before {
            if !wanted(bar, by) {
                assert_eq!(
                    after.get(&(bar, by)),
                    Some(notes),
                    "{arguments}: {bar}, {by}"
                );
            }
        }
        for (&(bar, by), notes) in &after {
            let same = before.get(&(bar, by)) == Some(notes);
            assert_ne!(same, wanted(bar, by), "{arguments}: bar {bar} of {by}");
        }
        score
    };
    check("--fill 33:2-3,drums:1", &|bar, by| {
        (by == 33 && (1..3).contains(&bar)) || (by == 128 && bar == 0)
    });
    check("--lock '0, drums:1-2'", &|bar, by| {
        by == 33 || (by == 128 && bar >= 2)
    });
    check("--fill all:4 --lock drums", &|bar, by| {
        bar == 3 && by != 128
    });
    // An instrument that the file lacks.
    let added = check(
        "--fill 73 --tracks '73 polyphony=1 pitch=60-90'",
        &|_, by| by == 73,
    );
    let flute = notes(&added, 73);
    assert!(!flute.is_empty() && flute.iter().all(|note| (60..=90).contains(&note.pitch)));
    let new = score(here, "--continue mine.mid --fill 33:2-3 --return new");
    assert!(!notes(&new, 33).is_empty());
    assert!(
        cells(&new)
            .keys()
            .all(|&(bar, by)| by == 33 && (1..3).contains(&bar))
    );
}
