//! What `famam generate` can ask of a song, run as a user does and read from the files that it writes: with the
//! default model, and with one of random weights that can write cells among known ones.

mod grid_model;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Output};

use famam_shared::instrument::Instrument;
use famam_shared::midi;
use famam_shared::score::{Metre, Note, Score, Tempo, Ticks, Track};
use famam_shared::theory::Scale;

const BAR: u32 = 3840;

/// Runs it; single quotes keep words together.
fn famam(folder: &Path, arguments: &str) -> Output {
    let mut words = Vec::new();
    for (i, part) in arguments.split('\'').enumerate() {
        match i % 2 {
            0 => words.extend(part.split_whitespace().map(str::to_owned)),
            _ => words.push(part.to_owned()),
        }
    }
    Command::new(env!("CARGO_BIN_EXE_famam"))
        .arg("generate")
        .args(words)
        .current_dir(folder)
        .env("XDG_DATA_HOME", folder.join("data"))
        .env("APPDATA", folder.join("data"))
        .output()
        .unwrap()
}

fn said(folder: &Path, arguments: &str) -> String {
    let output = famam(folder, arguments);
    assert!(output.status.success(), "{arguments}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// What is written for these arguments.
fn score(folder: &Path, arguments: &str) -> Score {
    said(folder, &format!("{arguments} --seed 5 -o song.mid"));
    midi::read(&std::fs::read(folder.join("song.mid")).unwrap()).unwrap()
}

fn players(score: &Score) -> BTreeSet<u8> {
    score
        .tracks
        .iter()
        .map(|track| track.instrument.index())
        .collect()
}

fn notes(score: &Score, by: u8) -> Vec<Note> {
    let tracks = score
        .tracks
        .iter()
        .filter(|track| track.instrument.index() == by);
    tracks
        .flat_map(|track| track.notes.iter().copied())
        .collect()
}

fn pitched(score: &Score) -> impl Iterator<Item = &Note> {
    let tracks = score
        .tracks
        .iter()
        .filter(|track| !track.instrument.is_drums());
    tracks.flat_map(|track| &track.notes)
}

/// Notes by cell.
fn cells(score: &Score) -> BTreeMap<(u32, u8), Vec<Note>> {
    let mut cells: BTreeMap<(u32, u8), Vec<Note>> = BTreeMap::new();
    for track in &score.tracks {
        for note in &track.notes {
            let cell = (note.start.0 / BAR, track.instrument.index());
            cells.entry(cell).or_default().push(*note);
        }
    }
    cells
}

/// What a user wrote, in the folder: four bars of piano, bass and drums, off any grid.
fn write_known(folder: &Path) -> Score {
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
fn a_locked_key_has_no_note_outside_and_chords_their_tones_on_beats() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    for option in ["--key", "--scale"] {
        for name in ["A minor", "D dorian", "Bb blues"] {
            let score = score(here, &format!("--bars 3 --genre rock {option} '{name}'"));
            let tones = name.parse::<Scale>().unwrap().tones();
            assert!(pitched(&score).count() > 5, "{name}");
            assert!(
                pitched(&score).all(|note| tones.contains(note.pitch)),
                "{name}"
            );
        }
    }
    let request = "--bars 4 --instruments piano,33,48";
    let locked = score(here, &format!("{request} --chords 'Am F C G'"));
    let classes = [[9, 0, 4], [5, 9, 0], [0, 4, 7], [7, 11, 2]];
    let on_beats: Vec<&Note> = pitched(&locked)
        .filter(|note| note.start.0 % 960 == 0)
        .collect();
    assert!(on_beats.len() > 5);
    for note in on_beats {
        let chord = classes[(note.start.0 / BAR) as usize];
        assert!(chord.contains(&(note.pitch % 12)), "{note:?}");
    }
    // Leaning is neither locked nor nothing.
    let [free, leaning] =
        ["", "--chords 'Am F C G ~1'"].map(|asked| score(here, &format!("{request} {asked}")));
    assert!(free.tracks != leaning.tracks && leaning.tracks != locked.tracks);
}

#[test]
fn bars_metre_tempo_and_seconds_are_as_asked() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let waltz = score(here, "--bars 3 --metre 3/4 --tempo 90");
    assert_eq!((waltz.end, waltz.bars().count()), (Ticks(3 * 2880), 3));
    assert_eq!(waltz.tempos[0].micros_per_quarter, 666_667);
    // Bars of two seconds: 5 s are three of them, 6 s no more.
    for seconds in ["5", "6"] {
        let score = score(here, &format!("--seconds {seconds}"));
        assert_eq!(score.end, Ticks(3 * BAR), "{seconds}");
    }
}

#[test]
fn tracks_are_those_asked_for_inside_their_limits() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let score_of = |asked: &str| score(here, &format!("--genre rock --bars 4 {asked}"));
    let tracks = "drums; 33 pitch=28-50 polyphony=1; 0 pitch=48- polyphony=2-4 lengths=1/4-1";
    let score = score_of(&format!("--tracks '{tracks}'"));
    assert_eq!(players(&score), BTreeSet::from([0, 33, 128]));
    let bass = notes(&score, 33);
    assert!(bass.iter().all(|note| (28..=50).contains(&note.pitch)));
    assert!(
        bass.windows(2).all(|pair| pair[0].end() <= pair[1].start),
        "one at a time"
    );
    let piano = notes(&score, 0);
    assert!(piano.iter().all(|note| note.pitch >= 48));
    assert!(
        piano
            .iter()
            .all(|note| (240..=960).contains(&note.duration.0))
    );
    for note in &piano {
        let sounding = piano
            .iter()
            .filter(|other| other.start <= note.start && other.end() > note.start);
        assert!((2..=4).contains(&sounding.count()), "{note:?}");
    }
    // Where nothing is named, as many as asked of the genre's own.
    for count in [1, 3] {
        let score = score_of(&format!("--top-instruments {count}"));
        assert_eq!(players(&score).len(), count);
    }
    assert!(players(&score_of("")).len() <= 5);
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
    let [by_tokens, by_file] = ["--continue-tokens first.tokens", "--continue first.mid"]
        .map(|from| score(here, &format!("{from} --bars 2 --return new")));
    assert!(by_tokens.note_count() > 5);
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
    grid_model::write(&here.join("grid.onnx"));
    let known = write_known(here);
    let before = cells(&known);
    let check = |arguments: &str, wanted: &dyn Fn(u32, u8) -> bool| {
        let score = score(
            here,
            &format!("--model grid.onnx --continue mine.mid {arguments}"),
        );
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
    let new = score(
        here,
        "--model grid.onnx --continue mine.mid --fill 33:2-3 --return new",
    );
    assert!(!notes(&new, 33).is_empty());
    assert!(
        cells(&new)
            .keys()
            .all(|&(bar, by)| by == 33 && (1..3).contains(&bar))
    );
}

#[test]
fn a_section_that_comes_again_is_alike_and_not_equal() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    grid_model::write(&here.join("grid.onnx"));
    let section = |cells: &BTreeMap<(u32, u8), Vec<Note>>, number: u32| {
        let own = cells.iter().filter(|((bar, _), _)| bar / 4 == number);
        let moved = own.map(|(&(bar, by), notes)| {
            let notes = notes
                .iter()
                .map(|note| (note.start.0 - number * 4 * BAR, note.pitch));
            ((bar % 4, by), notes.collect::<Vec<_>>())
        });
        moved.collect::<BTreeMap<_, _>>()
    };
    for (model, last) in [("", 3), ("--model grid.onnx --genre rock", 3)] {
        let request =
            format!("{model} --top-instruments 3 --sections ABAB --section-bars 4 --chords drawn");
        let score = score(here, &request);
        assert_eq!(score.end, Ticks(16 * BAR));
        let cells = cells(&score);
        let [a, b, again] = [0, 1, 2].map(|number| section(&cells, number));
        assert_ne!(a, b);
        assert_ne!(a, again, "{request}");
        // What is anew: the last bar, and of a model that fills in one track.
        let kept = a.iter().filter(|((bar, _), _)| *bar < last);
        let same = kept
            .clone()
            .filter(|(cell, notes)| again.get(*cell) == Some(notes));
        let most = if model.is_empty() {
            kept.count()
        } else {
            kept.count() / 3
        };
        assert!(same.count() >= most, "{request}");
    }
    // One progression for each letter.
    let told = said(
        here,
        "--sections ABAB --section-bars 4 --chords drawn --seed 2 --tracks 33 -o x.mid",
    );
    let line = told.lines().next().unwrap();
    let chords: Vec<&str> = line.rsplit(", ").next().unwrap().split(' ').collect();
    assert_eq!(chords.len(), 16, "{line}");
    assert_eq!(chords[..8], chords[8..], "{line}");
}

#[test]
fn styles_are_presets_and_the_users_own_are_read_from_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let three = score(here, "--style melody,chords,bass --bars 4");
    assert_eq!(three.tracks.len(), 3);
    let told = said(
        here,
        "--style melody,bass --bars 1 --key 'A minor' --seed 1 -o x.mid",
    );
    assert!(
        told.contains(", A minor, "),
        "the chords that were drawn: {told}"
    );
    let other = said(here, "--style melody,bass --bars 1 --seed 1 -o x.mid");
    let again = said(here, "--style melody,bass --bars 1 --seed 2 -o x.mid");
    let key = |told: &str| told.split(", ").nth(2).map(str::to_owned);
    assert_ne!(key(&other), key(&again), "keys are drawn");
    let styles = r#"{"version": 1, "styles": {"night": {"tracks": "4; 32 pitch=28-50", "tempo": 80, "key": "D dorian"}}}"#;
    std::fs::write(here.join("mine.json"), styles).unwrap();
    let night = score(here, "--styles mine.json --style night --bars 3");
    assert!(players(&night).is_subset(&BTreeSet::from([4, 32])));
    assert_eq!(night.tempos[0].micros_per_quarter, 750_000);
    let tones = "D dorian".parse::<Scale>().unwrap().tones();
    assert!(pitched(&night).all(|note| tones.contains(note.pitch)));
    // What is said beside it decides.
    let fast = score(
        here,
        "--styles mine.json --style night --bars 1 --tempo 160",
    );
    assert_eq!(fast.tempos[0].micros_per_quarter, 375_000);
    // The same file where Famam looks for it.
    let data = here.join(if cfg!(target_os = "macos") {
        "none"
    } else {
        "data/famam"
    });
    std::fs::create_dir_all(&data).unwrap();
    std::fs::write(data.join("styles.json"), styles).unwrap();
    if cfg!(not(target_os = "macos")) {
        assert_eq!(score(here, "--style night --bars 3"), night);
    }
}

#[test]
fn sets_are_in_folders_by_kind() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let told = said(
        here,
        "--all-keys --variations 2 --bars 1 --instruments piano --seed 3 --output-dir out",
    );
    assert!(told.contains("48 files in 24 folders under out"), "{told}");
    for key in ["A minor", "C major", "F# major", "G# minor"] {
        let tones = key.parse::<Scale>().unwrap().tones();
        for seed in [3, 4] {
            let file = here.join(format!("out/key/{key}/famam-{seed}.mid"));
            let score = midi::read(&std::fs::read(file).unwrap()).unwrap();
            assert!(
                pitched(&score).all(|note| tones.contains(note.pitch)),
                "{key}"
            );
        }
    }
    grid_model::write(&here.join("grid.onnx"));
    said(
        here,
        "--model grid.onnx --all-genres -n 1 --bars 1 --seed 3 --output-dir out",
    );
    for (genre, band) in [("jazz", [0, 32, 128]), ("rock", [30, 33, 128])] {
        let file = here.join(format!("out/genre/{genre}/famam-3.mid"));
        let score = midi::read(&std::fs::read(file).unwrap()).unwrap();
        assert!(players(&score).is_subset(&BTreeSet::from(band)), "{genre}");
    }
}

#[test]
fn what_cannot_be_is_told_with_its_flags() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    write_known(here);
    let known = std::fs::read(here.join("mine.mid")).unwrap();
    let from = "--continue mine.mid";
    for (arguments, words) in [
        (
            "--fill 33:1",
            "--fill is of music that is there already: name a file with --continue",
        ),
        ("--from-bar 2", "--from-bar is of music"),
        ("--chords from", "--chords from is of music"),
        ("--bars 2 --seconds 3", "--seconds"),
        ("--tracks 33 --instruments 33", "--instruments"),
        ("--all-keys --key C", "--key"),
        ("--sections ABAB --continue mine.mid", "--continue"),
        ("--sections AB1", "expected a letter from A to Z"),
        ("--key 'H minor'", "must begin with its root"),
        ("--key 'A minor ~x'", "expected nats above 0"),
        ("--chords 'I V vi IV'", "give a key beside it"),
        (
            "--style ska",
            "there is no style \"ska\"; there are bass, chords, melody, random",
        ),
        ("--styles none.json --style ska", "none.json"),
        ("--continue none.mid", "none.mid"),
        (
            &format!("{from} --from-bar 9"),
            "has 4 bars: --from-bar 9 is behind its end",
        ),
        (
            &format!("{from} --first-tokens 1"),
            "more than --first-tokens 1",
        ),
        (
            &format!("{from} --fill 33:9"),
            "behind the file's last, which is bar 4",
        ),
        (&format!("{from} --fill 33:1 --bars 3"), "--bars"),
        (&format!("{from} --lock all"), "all cells are locked"),
        (
            &format!("{from} --fill 33:1 --tracks 0"),
            "none of its cells is wanted",
        ),
        (
            &format!("{from} --fill 33:2"),
            "take one whose encoding is grid",
        ),
        ("--metre 255/16 --bars 1", "255/16"),
        (
            "--tracks '33; 33'",
            "nothing is left to play the track \"33\"",
        ),
    ] {
        let output = famam(here, &format!("{arguments} -o none.out"));
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success(), "{arguments}");
        assert!(told.contains(words), "{arguments}: {told}");
        assert!(!told.contains("panicked"), "{arguments}: {told}");
        assert!(!here.join("none.out").exists());
    }
    assert_eq!(
        std::fs::read(here.join("mine.mid")).unwrap(),
        known,
        "the user's file"
    );
}
