//! Keys, chords, bars and tracks; and what is refused.

use std::collections::BTreeSet;

use famam_shared::score::{Note, Ticks};
use famam_shared::theory::Scale;

use crate::known::write_known;
use crate::program::*;

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
