//! What every encoding promises, over random scores, over random walks through the grammar, and
//! over every file of the corpus where it is there.

use famam_shared::encoding::{BarState, Conditioning, Encoding, Spec, Token, TokenSet};
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

/// Every encoding with these settings.
fn specs(settings: &quantize::Settings) -> [Spec; 3] {
    [Spec::Multitrack, Spec::Remi, Spec::Event].map(|spec| spec(settings.clone()))
}

/// Every encoding with every one of [`settings`], with a number of its own.
fn encodings() -> impl Iterator<Item = (u64, String, Box<dyn Encoding>)> {
    let specs = settings().into_iter().flat_map(|settings| specs(&settings));
    specs.zip(0..).map(|(spec, i)| {
        let encoding = spec.build(GENRES).unwrap();
        (i, format!("{spec:?}"), encoding)
    })
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
        .chain([quantize::Settings {
            velocity_bins: 0,
            ..default.clone()
        }])
        .collect()
}

/// Checks the promises for one score; returns its streams.
fn check(encoding: &dyn Encoding, score: &Score, what: &str) -> Vec<Vec<Token>> {
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
    // The tracks of each body: all of them, or one.
    let parts: Vec<&[Track]> = match bodies.len() {
        1 => vec![&once.tracks],
        count => {
            assert_eq!(count, once.tracks.len(), "{what}");
            once.tracks.chunks(1).collect()
        }
    };
    std::iter::zip(bodies, parts)
        .map(|(body, tracks)| {
            assert_eq!(body.bars.len(), once.bars().count());
            assert_eq!(body.bars.len(), body.states.len());
            assert!(
                tracks
                    .iter()
                    .all(|t| body.instruments.contains(t.instrument))
            );
            assert_eq!(body.instruments.len(), tracks.len());
            assert_eq!(encoding.instruments(&body, &body.tokens), body.instruments);
            let conditioning = Conditioning {
                genre: 3,
                instruments: Some(body.instruments),
            };
            let mut stream = encoding.head(&conditioning);
            stream.extend_from_slice(&body.tokens);
            let segment = encoding.segment(&conditioning, &body.tokens, body.states[0], 0);
            assert_eq!(segment.unwrap(), stream);
            let decoded = encoding
                .decode(&stream)
                .unwrap_or_else(|error| panic!("{what}: {error}"));
            let part = Score {
                tracks: tracks.to_vec(),
                ..once.clone()
            };
            assert_eq!(decoded, part, "{what}: decode(encode(q)) == q");
            stream
        })
        .collect()
}

#[test]
fn random_scores_survive_encoding_exactly() {
    for (i, what, encoding) in encodings() {
        let mut rng = ChaCha8Rng::seed_from_u64(i);
        for n in 0..100 {
            check(
                &*encoding,
                &random_score(&mut rng),
                &format!("{what}, score {n}"),
            );
        }
    }
}

/// Notes of `tracks` from bar line `start` on that end by `end`, a note that is longer ending there.
fn between(tracks: &[Track], start: Ticks, end: Ticks) -> Vec<Track> {
    let notes = |track: &Track| -> Vec<Note> {
        let inside = |note: &&Note| note.start >= start && note.start < end;
        let cut = |note: &Note| Note {
            start: note.start - start,
            duration: note.duration.min(end - note.start),
            ..*note
        };
        track.notes.iter().filter(inside).map(cut).collect()
    };
    let tracks = tracks.iter().map(|track| Track {
        notes: notes(track),
        ..track.clone()
    });
    tracks.filter(|track| !track.notes.is_empty()).collect()
}

/// From every bar to the end and to some bar before, in two keys.
#[test]
fn every_part_of_a_piece_is_a_stream_of_its_own() {
    for (i, what, encoding) in encodings() {
        let mut rng = ChaCha8Rng::seed_from_u64(i);
        for _ in 0..12 {
            let (score, _) = quantize(&random_score(&mut rng), encoding.quantize_settings());
            let lines: Vec<Ticks> = score.bars().map(|bar| bar.start).collect();
            let bodies = encoding.encode(&score);
            for (b, body) in bodies.iter().enumerate() {
                let all = &score.tracks[..];
                let tracks = if bodies.len() == all.len() {
                    &all[b..=b]
                } else {
                    all
                };
                let conditioning = Conditioning {
                    genre: 0,
                    instruments: Some(body.instruments),
                };
                for from in 0..lines.len() {
                    let to = draw(&mut rng, from as u32 + 1, lines.len() as u32 + 1) as usize;
                    let end = lines.get(to).copied().unwrap_or(score.end);
                    let last = body.bars.get(to).map_or(body.tokens.len(), |&b| b as usize);
                    let tokens = &body.tokens[body.bars[from] as usize..last];
                    let segment =
                        |shift| encoding.segment(&conditioning, tokens, body.states[from], shift);
                    let part = encoding.decode(&segment(0).unwrap()).unwrap();
                    let notes = between(tracks, lines[from], end);
                    // With a duration said at its start a note may be longer than the part.
                    assert_eq!(
                        between(&part.tracks, Ticks(0), end - lines[from]),
                        notes,
                        "{what}"
                    );
                    if let Some(higher) = segment(2) {
                        let mut shifted = part;
                        for track in &mut shifted.tracks {
                            let shift = if track.instrument.is_drums() { 0 } else { 2 };
                            track.notes.iter_mut().for_each(|note| note.pitch += shift);
                        }
                        assert_eq!(encoding.decode(&higher).unwrap(), shifted, "{what}");
                    }
                }
            }
        }
    }
}

/// A stream of about `target` tokens of which each is any that the grammar allows.
fn walk(encoding: &dyn Encoding, rng: &mut ChaCha8Rng, target: usize) -> Vec<Token> {
    let mut next = TokenSet::new(encoding.vocabulary_size());
    let (mut grammar, mut stream) = (encoding.grammar(), Vec::new());
    let eos = encoding.special().eos;
    loop {
        grammar.allowed(&mut next);
        if next.is_empty() {
            return stream;
        }
        let token = if stream.len() > target && next.contains(eos) {
            eos
        } else {
            let mut tokens: Vec<_> = next.iter().filter(|&token| token != eos).collect();
            // Half of the time by kind first, so that all are met, whatever their number of tokens.
            if draw(rng, 0, 2) == 0 {
                let mut kinds: Vec<_> = tokens.iter().map(|&token| encoding.kind(token)).collect();
                kinds.dedup();
                let kind = kinds[draw(rng, 0, kinds.len() as u32) as usize];
                tokens.retain(|&token| encoding.kind(token) == kind);
            }
            tokens[draw(rng, 0, tokens.len() as u32) as usize]
        };
        if stream.len().is_multiple_of(16)
            && (0..encoding.vocabulary_size() as Token)
                .any(|other| !next.contains(other) && grammar.boxed_clone().accept(other).is_ok())
        {
            panic!("the grammar accepts what it does not allow");
        }
        grammar.accept(token).unwrap();
        stream.push(token);
    }
}

#[test]
fn whatever_the_grammar_allows_decodes_to_a_quantized_score() {
    for (i, what, encoding) in encodings() {
        let mut rng = ChaCha8Rng::seed_from_u64(100 + i);
        for _ in 0..16 {
            let target = draw(&mut rng, 5, 600) as usize;
            let stream = walk(&*encoding, &mut rng, target);
            let score = encoding.decode(&stream).unwrap();
            // Bars after the last note are music to a decoder and silence to quantization.
            let (again, losses) = quantize(&score, encoding.quantize_settings());
            assert_eq!(again.tracks, score.tracks, "{what}");
            assert_eq!((losses.merged, losses.cut, losses.moved), (0, 0, 0));
            // What was said can be said again: in `event` in one way only, elsewhere but for
            // durations beyond the same pitch struck again.
            for (body, track) in std::iter::zip(encoding.encode(&score), &score.tracks) {
                let conditioning = Conditioning {
                    genre: 0,
                    instruments: Some(body.instruments),
                };
                let said = encoding.head(&conditioning);
                let said = [&said[..], &body.tokens].concat();
                let decoded = encoding.decode(&said).unwrap();
                assert!(decoded.tracks.contains(track), "{what}");
                if what.starts_with("Event") {
                    let bar = encoding.special().bar;
                    let head = stream.iter().position(|&token| token == bar).unwrap();
                    assert_eq!(body.tokens, stream[head..], "{what}");
                }
            }
        }
    }
}

/// A stream cut anywhere decodes, and so does what a damaged body says alone, or it is refused.
#[test]
fn parts_of_streams_and_damaged_bodies_do_no_harm() {
    for (i, what, encoding) in encodings() {
        let mut rng = ChaCha8Rng::seed_from_u64(200 + i);
        for _ in 0..2 {
            let stream = walk(&*encoding, &mut rng, 200);
            for end in 0..stream.len() {
                encoding.decode(&stream[..end]).expect(&what);
            }
            let size = encoding.vocabulary_size() as u32;
            let bar = encoding.special().bar;
            for _ in 0..50 {
                let mut body: Vec<Token> = (0..draw(&mut rng, 0, 80))
                    .map(|_| draw(&mut rng, 0, size + 3) as Token)
                    .collect();
                body.insert(0, bar);
                let mut bars = encoding.bars(&body);
                encoding.decode_bar(&body, &mut bars);
                let state = BarState { metre: 0, tempo: 0 };
                let stream = encoding.segment(&Conditioning::default(), &body, state, 5);
                let _ = stream.map(|stream| encoding.decode(&stream));
            }
        }
    }
}

/// Famam's own decoders failed at each of these: ends after strikes at one time, velocities on the
/// wrong note, all bars on top of the first.
#[test]
fn notes_that_touch_keep_their_velocities_and_bars() {
    let bar = 3840;
    let note = |start, duration, velocity| Note {
        start: Ticks(start),
        pitch: 60,
        duration: Ticks(duration),
        velocity,
    };
    let mut notes = vec![note(0, 960, 34), note(960, 960, 98)];
    notes.extend((1..6).map(|i| note(i * bar, if i == 5 { bar } else { 960 }, 66)));
    let score = Score {
        tracks: vec![Track {
            instrument: Instrument::new(33).unwrap(),
            name: "Electric Bass (finger)".to_owned(),
            notes,
        }],
        ..Score::default()
    };
    for spec in specs(&quantize::Settings::default()) {
        let encoding = spec.build(GENRES).unwrap();
        assert_eq!(
            quantize(&score, encoding.quantize_settings()).0.tracks,
            score.tracks
        );
        check(&*encoding, &score, "notes that touch");
    }
}

#[test]
fn a_monophonic_stream_is_of_the_first_of_a_band() {
    let band = [0, 33, 128].map(|i| Instrument::new(i).unwrap());
    for spec in &specs(&quantize::Settings::default())[1..] {
        let encoding = spec.build(GENRES).unwrap();
        let head = |instruments: Option<&[Instrument]>| {
            let instruments = instruments.map(|all| all.iter().copied().collect());
            let head = encoding.head(&Conditioning {
                genre: 0,
                instruments,
            });
            encoding.name(*head.last().unwrap())
        };
        assert_eq!(head(Some(&band)), "instrument Drums");
        assert_eq!(head(Some(&band[..2])), "instrument Acoustic Grand Piano");
        assert_eq!(head(Some(&band[1..2])), "instrument Electric Bass (finger)");
        assert_eq!(head(None), "any instruments");
        // Of any instrument a stream is either drums or pitches of program 0.
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let any = |score: Score| score.tracks.into_iter().map(|track| track.instrument);
        let mut met = [false; 2];
        for _ in 0..60 {
            let mut stream = encoding.head(&Conditioning::default());
            let walked = walk(&*encoding, &mut rng, 80);
            let from = walked
                .iter()
                .position(|t| *t == encoding.special().bar)
                .unwrap();
            stream.extend_from_slice(&walked[from..]);
            for instrument in any(encoding.decode(&stream).unwrap()) {
                assert!([0, 128].contains(&instrument.index()));
                met[usize::from(instrument.is_drums())] = true;
            }
        }
        assert_eq!(met, [true; 2]);
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
    for spec in specs(&settings) {
        assert_eq!(spec.build(GENRES).err().unwrap().field, "positions_per_bar");
    }
    for spec in specs(&quantize::Settings::default()) {
        assert!(spec.build(0).is_err());
    }
}

/// Every readable file of the corpus: `FAMAM_DATA` names the folder with train, test and hard.
#[test]
fn every_file_of_the_corpus_survives_encoding_exactly() {
    let Some(data) = std::env::var_os("FAMAM_DATA") else {
        println!("skipped: FAMAM_DATA does not name a folder of music");
        return;
    };
    let encodings = specs(&quantize::Settings::default())
        .map(|spec| (spec.name(), spec.build(GENRES).unwrap()));
    let parts = ["train", "test", "hard"];
    let mut folders: Vec<_> = (0..parts.len())
        .map(|part| (part, std::path::Path::new(&data).join(parts[part])))
        .collect();
    let (mut files, mut unreadable, mut tokens) = ([0; 3], 0, [0; 3]);
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
                        for ((name, encoding), tokens) in encodings.iter().zip(&mut tokens) {
                            let what = format!("{name}: {}", path.display());
                            let streams = check(&**encoding, &score, &what);
                            *tokens += streams.iter().map(Vec::len).sum::<usize>();
                        }
                        losses += quantize(&score, encodings[0].1.quantize_settings()).1;
                        files[part] += 1;
                    }
                    Err(_) => unreadable += 1,
                }
            }
        }
    }
    println!("{files:?} files, {unreadable} unreadable, {losses:#?}");
    for ((name, _), tokens) in encodings.iter().zip(tokens) {
        let a_note = tokens as f64 / losses.notes as f64;
        println!("{name}: {tokens} tokens, {a_note:.3} a note");
    }
    println!(
        "{:.3} % of notes kept",
        100.0 * losses.kept() as f64 / losses.notes as f64
    );
    assert!(files.iter().all(|&count| count > 0), "{files:?}");
    assert_eq!(losses.beyond, 0, "no music is that long");
}

/// Data sets and models that people have name these numbers: FNV-1a over the streams of random
/// scores, and where each kind of token begins.
#[test]
fn the_tokens_of_multitrack_never_move() {
    let encoding = Spec::Multitrack(quantize::Settings::default())
        .build(GENRES)
        .unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(2026);
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for _ in 0..50 {
        for token in check(&*encoding, &random_score(&mut rng), "a score").remove(0) {
            hash = (hash ^ u64::from(token)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    let kinds: Vec<_> = (0..encoding.vocabulary_size() as Token)
        .map(|token| encoding.kind(token))
        .collect();
    let starts: Vec<_> = kinds
        .chunk_by(|a, b| a == b)
        .map(|run| (run[0], run.len()))
        .collect();
    assert_eq!(
        starts,
        [
            ("pad", 1),
            ("bos", 1),
            ("eos", 1),
            ("bar", 1),
            ("any instruments", 1),
            ("metre", 60),
            ("tempo", 97),
            ("position", 64),
            ("instrument", 129),
            ("drum", 128),
            ("pitch", 128),
            ("duration", 128),
            ("velocity", 32),
            ("genre", 5),
        ]
    );
    assert_eq!(hash, 0xf2ae_87d0_4a9e_9539);
}
