//! What every encoding promises, over random scores, over random walks through the grammar, and
//! over every file of the corpus where it is there.

use famam_shared::encoding::{Conditioning, Encoding, Spec, Token, TokenSet};
use famam_shared::instrument::Instrument;
use famam_shared::quantize::{self, quantize};
use famam_shared::score::{Key, Metre, Note, Score, Tempo, Ticks, Track};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

const GENRES: usize = 5;

/// A whole number from `low` to below `high`.
fn draw(rng: &mut ChaCha8Rng, low: u32, high: u32) -> u32 {
    low + rng.next_u32() % (high - low)
}

/// A score with every irregularity that a file can have: metres of any kind changing anywhere,
/// tempos inside bars, several tracks of an instrument, notes that overlap themselves.
fn random_score(rng: &mut ChaCha8Rng) -> Score {
    let length = draw(rng, 1, 40_000);
    let at = |rng: &mut ChaCha8Rng, count: u32| {
        let mut at: Vec<_> = (0..draw(rng, 0, count))
            .map(|_| Ticks(draw(rng, 0, length)))
            .collect();
        at.sort_unstable();
        at
    };
    let metres = at(rng, 6);
    let tempos = at(rng, 12);
    let keys = at(rng, 3);
    let mut score = Score {
        metres: metres
            .into_iter()
            .map(|at| Metre {
                at,
                numerator: draw(rng, 1, 40) as u8,
                denominator: 1 << draw(rng, 0, 8),
            })
            .collect(),
        tempos: tempos
            .into_iter()
            .map(|at| Tempo {
                at,
                micros_per_quarter: draw(rng, 1, 8_000_000),
            })
            .collect(),
        keys: keys
            .into_iter()
            .map(|at| Key {
                at,
                fifths: 0,
                minor: false,
            })
            .collect(),
        ..Score::default()
    };
    for _ in 0..draw(rng, 0, 7) {
        let instrument = match draw(rng, 0, 3) {
            0 => Instrument::DRUMS,
            _ => Instrument::new(draw(rng, 0, 6) as u8).unwrap(),
        };
        let mut notes: Vec<_> = (0..draw(rng, 0, 60))
            .map(|_| {
                let longest = 1 << draw(rng, 1, 16);
                // Half of the notes share four pitches, so that they overlap.
                let pitches = [4, 128][draw(rng, 0, 2) as usize];
                Note {
                    start: Ticks(draw(rng, 0, length)),
                    pitch: draw(rng, 0, pitches) as u8,
                    duration: Ticks(1 + draw(rng, 0, longest)),
                    velocity: draw(rng, 1, 128) as u8,
                }
            })
            .collect();
        notes.sort_unstable();
        score.tracks.push(Track {
            instrument,
            name: "a name".to_owned(),
            notes,
        });
    }
    let ends = score
        .tracks
        .iter()
        .flat_map(|track| &track.notes)
        .map(Note::end);
    score.end = ends.max().unwrap_or_default();
    score
}

fn settings() -> Vec<quantize::Settings> {
    let default = quantize::Settings::default();
    [4, 12, 16, 24, 32, 48, 96]
        .map(|positions_per_bar| quantize::Settings {
            positions_per_bar,
            ..default.clone()
        })
        .into_iter()
        .chain([quantize::Settings {
            max_duration_bars: 1,
            max_metre_bars: 1,
            velocity_bins: 7,
            ..default.clone()
        }])
        .collect()
}

/// Checks the promises for one score; returns the stream.
fn check(encoding: &dyn Encoding, score: &Score, what: &str) -> Vec<Token> {
    let (once, losses) = quantize(score, encoding.quantize_settings());
    let (twice, none) = quantize(&once, encoding.quantize_settings());
    assert_eq!(once, twice, "{what}: quantize is idempotent");
    assert_eq!(
        losses.kept(),
        once.note_count() as u64,
        "{what}: losses are counted"
    );
    assert_eq!(none.kept(), losses.kept());
    let bodies = encoding.encode(&once);
    assert_eq!(bodies.len(), 1);
    let body = &bodies[0];
    assert_eq!(body.bars.len(), once.bars().count());
    assert_eq!(body.bars.len(), body.states.len());
    let conditioning = Conditioning {
        genre: 3,
        instruments: Some(encoding.instruments(&body.tokens)),
    };
    let mut stream = encoding.head(&conditioning);
    stream.extend_from_slice(&body.tokens);
    assert_eq!(
        encoding
            .segment(&conditioning, &body.tokens, body.states[0], 0)
            .unwrap(),
        stream
    );
    let decoded = encoding
        .decode(&stream)
        .unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(decoded, once, "{what}: decode(encode(q)) == q");
    stream
}

#[test]
fn random_scores_survive_encoding_exactly() {
    for (i, settings) in settings().into_iter().enumerate() {
        let encoding = Spec::Multitrack(settings).build(GENRES).unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(i as u64);
        for n in 0..300 {
            check(
                &*encoding,
                &random_score(&mut rng),
                &format!("settings {i}, score {n}"),
            );
        }
    }
}

#[test]
fn every_part_of_a_piece_is_a_stream_of_its_own() {
    let encoding = Spec::Multitrack(quantize::Settings::default())
        .build(GENRES)
        .unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    for _ in 0..50 {
        let (score, _) = quantize(&random_score(&mut rng), encoding.quantize_settings());
        let body = encoding.encode(&score).remove(0);
        for (i, &from) in body.bars.iter().enumerate() {
            let tokens = &body.tokens[from as usize..];
            let conditioning = Conditioning {
                genre: 0,
                instruments: None,
            };
            let stream = encoding
                .segment(&conditioning, tokens, body.states[i], 0)
                .unwrap();
            let part = encoding.decode(&stream).unwrap();
            let start = score.bars().nth(i).unwrap().start;
            let count = score.tracks.iter().flat_map(|track| &track.notes);
            assert_eq!(
                part.note_count(),
                count.filter(|note| note.start >= start).count()
            );
            assert_eq!(
                part.metres[0].bar(),
                score.bars().nth(i).unwrap().metre.bar()
            );
            if let Some(higher) = encoding.segment(&conditioning, tokens, body.states[i], 2) {
                let higher = encoding.decode(&higher).unwrap();
                for (track, other) in part.tracks.iter().zip(&higher.tracks) {
                    let shift = if track.instrument.is_drums() { 0 } else { 2 };
                    let shifted = track.notes.iter().map(|note| note.pitch + shift);
                    assert!(shifted.eq(other.notes.iter().map(|note| note.pitch)));
                }
            }
        }
    }
}

#[test]
fn whatever_the_grammar_allows_decodes_to_a_quantized_score() {
    for (i, settings) in settings().into_iter().enumerate() {
        let encoding = Spec::Multitrack(settings).build(GENRES).unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(100 + i as u64);
        let mut next = TokenSet::new(encoding.vocabulary_size());
        for _ in 0..10 {
            let mut grammar = encoding.grammar();
            let mut stream = Vec::new();
            let target = draw(&mut rng, 5, 600) as usize;
            loop {
                grammar.allowed(&mut next);
                if next.is_empty() {
                    break;
                }
                let eos = encoding.special().eos;
                let token = if stream.len() > target && next.contains(eos) {
                    eos
                } else {
                    next.iter()
                        .nth(draw(&mut rng, 0, next.len() as u32) as usize)
                        .unwrap()
                };
                if (0..encoding.vocabulary_size() as Token).any(|other| {
                    !next.contains(other) && grammar.boxed_clone().accept(other).is_ok()
                }) {
                    panic!("the grammar accepts what it does not allow");
                }
                grammar.accept(token).unwrap();
                stream.push(token);
            }
            let score = encoding.decode(&stream).unwrap();
            // Bars after the last note are music to a decoder and silence to quantization.
            let (again, losses) = quantize(&score, encoding.quantize_settings());
            assert_eq!(again.tracks, score.tracks);
            assert_eq!((losses.merged, losses.cut, losses.moved), (0, 0, 0));
        }
    }
}

#[test]
fn a_wrong_token_is_named_with_what_was_expected() {
    let encoding = Spec::Multitrack(quantize::Settings::default())
        .build(GENRES)
        .unwrap();
    let mut stream = encoding.head(&Conditioning::default());
    let special = encoding.special();
    stream.extend([special.bar, special.bar]);
    let error = encoding.decode(&stream).unwrap_err();
    assert_eq!(error.index, 4);
    assert!(error.to_string().contains("expected metre"), "{error}");
    assert!(encoding.decode(&[60_000]).is_err());
}

#[test]
fn settings_that_make_no_vocabulary_are_refused_by_name() {
    let settings = quantize::Settings {
        positions_per_bar: 31,
        ..Default::default()
    };
    let error = Spec::Multitrack(settings).build(GENRES).err().unwrap();
    assert_eq!(error.field, "positions_per_bar");
    assert!(
        Spec::Multitrack(quantize::Settings::default())
            .build(0)
            .is_err()
    );
}

/// Every readable file of the corpus: `FAMAM_DATA` names the folder with train, test and hard.
#[test]
fn every_file_of_the_corpus_survives_encoding_exactly() {
    let Some(data) = std::env::var_os("FAMAM_DATA") else {
        println!("skipped: FAMAM_DATA does not name a folder of music");
        return;
    };
    let encoding = Spec::Multitrack(quantize::Settings::default())
        .build(GENRES)
        .unwrap();
    let parts = ["train", "test", "hard"];
    let mut folders: Vec<_> = (0..parts.len())
        .map(|part| (part, std::path::Path::new(&data).join(parts[part])))
        .collect();
    let (mut files, mut unreadable, mut tokens) = ([0; 3], 0, 0);
    let mut losses = quantize::Losses::default();
    while let Some((part, folder)) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push((part, path));
            } else if path
                .extension()
                .is_some_and(|e| e == "mid" || e == "midi" || e == "kar")
            {
                match famam_shared::midi::read_file(&path) {
                    Ok(score) => {
                        tokens += check(&*encoding, &score, &path.display().to_string()).len();
                        losses += quantize(&score, encoding.quantize_settings()).1;
                        files[part] += 1;
                    }
                    Err(_) => unreadable += 1,
                }
            }
        }
    }
    println!("{files:?} files, {unreadable} unreadable, {tokens} tokens, {losses:#?}");
    println!("{:.3} tokens a note", tokens as f64 / losses.notes as f64);
    println!(
        "{:.3} % of notes kept",
        100.0 * losses.kept() as f64 / losses.notes as f64
    );
    assert!(files.iter().all(|&count| count > 0), "{files:?}");
    assert_eq!(losses.beyond, 0, "no music is that long");
}
