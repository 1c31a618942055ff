//! No song, segment or transposition of the validation and test splits is in training, near
//! duplicates included.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeSet, HashMap};
use std::hash::{Hash, Hasher};
use std::path::Path;

use famam_shared::encoding::Encoding;
use famam_shared::instrument::{Instrument, InstrumentSet};
use famam_shared::score::{Note, Score, Ticks};
use famam_trainer::build::prepare::Reason;
use famam_trainer::config::dataset::{Config, DropDuplicates, EncoderType};
use famam_trainer::dataset::{Dataset, Piece, Split};

use tunes::{built, config, corpus, pieces, put, transposed, tune};

mod tunes;

const BAR: u32 = 3840;

/// What each bar of a piece says without its drums, whatever its key; `None` where that is less than
/// `least` notes, too little to tell music apart.
fn bars(piece: &Piece, encoding: &dyn Encoding, least: usize) -> Vec<Option<Vec<(u32, i16)>>> {
    let tokens = &piece.body.tokens;
    let ends = piece.body.bars.iter().skip(1).map(|&end| end as usize);
    let ends = ends.chain([tokens.len()]);
    let mut reader = encoding.bars(&[]);
    for (&start, end) in std::iter::zip(&piece.body.bars, ends) {
        encoding.decode_bar(&tokens[start as usize..end], &mut reader);
    }
    reader
        .map(|content| {
            let pitched = content.notes.iter().filter(|(part, _)| !part.is_drums());
            let notes: BTreeSet<(u32, i16)> = pitched
                .map(|(_, note)| (note.start.0, i16::from(note.pitch)))
                .collect();
            let &(_, low) = notes.first().filter(|_| notes.len() >= least)?;
            Some(notes.iter().map(|&(at, pitch)| (at, pitch - low)).collect())
        })
        .collect()
}

fn hash(what: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

/// Hashes of all segments of two bars.
fn segments(piece: &Piece, encoding: &dyn Encoding, least: usize) -> BTreeSet<u64> {
    let bars = bars(piece, encoding, least);
    let pairs = bars.windows(2);
    pairs
        .filter(|pair| pair.iter().all(Option::is_some))
        .map(|pair| hash(&pair))
        .collect()
}

fn encoding(data_set: &Dataset) -> Box<dyn Encoding> {
    let genres = data_set.vocabulary().genres.len();
    data_set.encoding().build(genres).unwrap()
}

/// `score` with each note, and the number of the bar that it starts in, as `change` says.
fn changed(mut score: Score, change: impl Fn(u32, Instrument, &mut Note) -> bool) -> Score {
    for track in &mut score.tracks {
        let instrument = track.instrument;
        track
            .notes
            .retain_mut(|note| change(note.start.0 / BAR, instrument, note));
    }
    score
}

/// The same music in other ways, and what each is.
fn versions(seed: u64) -> Vec<(&'static str, Score)> {
    let original = tune(seed, 24);
    let copy = original.clone();
    let mut played = changed(original.clone(), |_, _, note| {
        note.velocity = 127 - note.velocity / 2;
        true
    });
    played.tracks[1].instrument = Instrument::new(35).unwrap();
    played.tracks[2].instrument = Instrument::new(0).unwrap();
    played.tempos[0].micros_per_quarter = 700_000;
    let excerpt = changed(original.clone(), |bar, _, note| {
        note.start = note.start.saturating_sub(Ticks(6 * BAR));
        (6..18).contains(&bar)
    });
    let third = |bar: u32| bar.is_multiple_of(3);
    let mut mixed = changed(original.clone(), |bar, _, _| !third(bar));
    let other = changed(tune(seed + 100_000, 24), |bar, _, _| third(bar));
    for (track, other) in std::iter::zip(&mut mixed.tracks, other.tracks) {
        track.notes.extend(other.notes);
        track.notes.sort_unstable();
    }
    vec![
        ("copy", copy),
        ("transposed", transposed(original.clone(), 3)),
        ("played", played),
        ("excerpt", transposed(excerpt, 5)),
        ("mixed", mixed),
        ("original", original),
    ]
}

/// Forty songs in six versions each, under names that say nothing of it.
fn write(input: &Path) {
    for song in 0..40 {
        for (i, (_, score)) in versions(song).into_iter().rev().enumerate() {
            let name = format!("{i}/{}-{}.mid", (song * 17 + i as u64 * 7) % 40, song);
            put(input, &name, &score);
        }
    }
}

#[test]
fn what_is_in_one_split_is_in_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("midi");
    write(&input);
    // A bar has four notes of each part, and two pitched parts.
    for (encoder_type, least, seed) in [
        (EncoderType::Multitrack, 6, 0),
        (EncoderType::Mmm, 6, 1),
        (EncoderType::Remi, 3, 2),
        (EncoderType::Event, 3, 3),
        (EncoderType::Grid, 6, 4),
    ] {
        let config = Config {
            encoder_type,
            validation_fraction: 0.2,
            test_fraction: 0.2,
            random_seed: Some(seed),
            ..config(&input, &folder.path().join("set.h5"))
        };
        let (summary, data_set) = built(&config);
        assert_eq!(summary.used, 240);
        assert_eq!(summary.songs, [24, 8, 8]);
        check_splits(&data_set, least, 10);
    }
}

/// Panics where a segment of a split is in another one; each piece must have `most` of them at
/// least. A piece of drums alone is one segment.
fn check_splits(data_set: &Dataset, least: usize, most: usize) {
    let encoding = encoding(data_set);
    let mut seen: HashMap<u64, Split> = HashMap::new();
    for piece in pieces(data_set) {
        let drums = piece.body.instruments == InstrumentSet::from_iter([Instrument::DRUMS]);
        let segments = match drums {
            true => [hash(&piece.body.tokens)].into(),
            false => segments(&piece, &*encoding, least),
        };
        assert!(
            drums || segments.len() >= most,
            "{}: {}",
            piece.name,
            segments.len()
        );
        for segment in segments {
            let split = *seen.entry(segment).or_insert(piece.split);
            assert_eq!(split, piece.split, "{}", piece.name);
        }
    }
}

/// Twenty pairs of files that have nothing in common but a part, in another key and of another
/// instrument where it is pitched.
#[test]
fn files_that_share_a_part_are_of_one_song_where_parts_are_pieces() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("midi");
    for song in 0..20 {
        let original = tune(song, 12);
        let part = song as usize % 3;
        let mut other = tune(1000 + song, 12);
        other.tracks[part] = transposed(original.clone(), 2).tracks.swap_remove(part);
        if part > 0 {
            other.tracks[part].instrument = Instrument::new(60).unwrap();
        }
        put(&input, &format!("a/{song}.mid"), &original);
        put(&input, &format!("b/{}.mid", (song * 7 + 3) % 20), &other);
    }
    for (encoder_type, songs) in [
        (EncoderType::Multitrack, 40),
        (EncoderType::Mmm, 40),
        (EncoderType::Remi, 20),
        (EncoderType::Event, 20),
        (EncoderType::Grid, 40),
    ] {
        let (summary, data_set) = built(&Config {
            encoder_type,
            validation_fraction: 0.3,
            test_fraction: 0.2,
            ..config(&input, &folder.path().join("set.h5"))
        });
        assert_eq!(summary.songs.iter().sum::<usize>(), songs);
        assert!(summary.duplicates.is_empty(), "none is one of another");
        if songs == 20 {
            check_splits(&data_set, 3, 10);
        }
    }
}

#[test]
fn duplicates_are_left_out_for_the_first_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("midi");
    write(&input);
    let build = |drop_duplicates| {
        let config = Config {
            drop_duplicates,
            ..config(&input, &folder.path().join("set.h5"))
        };
        let (summary, data_set) = built(&config);
        assert_eq!(summary.songs.iter().sum::<usize>(), 40);
        assert_eq!(summary.used, data_set.len());
        (summary, pieces(&data_set))
    };
    let (summary, all) = build(DropDuplicates::None);
    assert_eq!((summary.left_out.len(), all.len()), (0, 240));
    assert_eq!(summary.duplicates.values().sum::<usize>(), 200);
    let (summary, exact) = build(DropDuplicates::Exact);
    assert_eq!(summary.left_out, [(Reason::ExactDuplicate, 40)].into());
    assert_eq!(exact.len(), 200);
    let (summary, near) = build(DropDuplicates::Near);
    let reasons = [(Reason::ExactDuplicate, 40), (Reason::NearDuplicate, 160)];
    assert_eq!(summary.left_out, reasons.into());
    assert!(near.iter().all(|piece| piece.name.starts_with("0/")));
    assert_eq!(near.len(), 40);
}

/// The music at hand, where `FAMAM_DATA` says where it is: all pairs of pieces, compared by all of
/// their bars.
#[test]
fn no_two_splits_of_the_corpus_share_most_of_a_piece() {
    let folder = tempfile::tempdir().unwrap();
    let Some(config) = corpus(folder.path()) else {
        return;
    };
    let (_, data_set) = built(&Config {
        validation_fraction: 0.2,
        test_fraction: 0.2,
        ..config
    });
    let encoding = encoding(&data_set);
    let mut of_piece: Vec<(String, Split, usize)> = Vec::new();
    let mut with_bar: HashMap<u64, Vec<usize>> = HashMap::new();
    let mut leaks = Vec::new();
    for piece in pieces(&data_set) {
        let bars: BTreeSet<u64> = bars(&piece, &*encoding, 6)
            .iter()
            .flatten()
            .map(|bar| hash(&bar))
            .collect();
        let mut shared: HashMap<usize, usize> = HashMap::new();
        for bar in &bars {
            let others = with_bar.entry(*bar).or_default();
            others
                .iter()
                .for_each(|&other| *shared.entry(other).or_default() += 1);
            others.push(of_piece.len());
        }
        for (other, shared) in shared {
            let (name, split, count) = &of_piece[other];
            if *split != piece.split && shared >= 8 && 2 * shared > bars.len().min(*count) {
                leaks.push((name.clone(), piece.name.clone(), shared));
            }
        }
        of_piece.push((piece.name, piece.split, bars.len()));
    }
    assert!(leaks.is_empty(), "{leaks:#?}");
}
