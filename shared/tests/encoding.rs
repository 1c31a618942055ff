//! What every encoding promises, over random scores and over every file of the corpus where it is
//! there.

mod scores;

use famam_shared::encoding::{Conditioning, Encoding, Spec, Token};
use famam_shared::instrument::Instrument;
use famam_shared::quantize::{self, quantize};
use famam_shared::score::{Note, Score, Ticks, Track};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use scores::{GENRES, draw, encodings, random_score, specs};

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
                metre: Some(body.states[0].metre),
                tempo: Some(body.states[0].tempo),
                ..Conditioning::default()
            };
            let head = encoding.head(&conditioning);
            let stream = encoding.segment(&conditioning, &body.tokens, body.states[0], 0);
            let stream = stream.unwrap();
            assert_eq!(stream[..head.len()], head);
            assert_eq!(encoding.bar_by_bar(&stream[head.len()..]), body.tokens);
            assert!(stream.len() - head.len() <= encoding.length(&body.tokens));
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
                    instruments: Some(body.instruments),
                    ..Conditioning::default()
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

/// Every readable file of the corpus: `FAMAM_DATA` names the folder with train, test and hard.
#[test]
fn every_file_of_the_corpus_survives_encoding_exactly() {
    let Some(data) = std::env::var_os("FAMAM_DATA") else {
        println!("skipped: FAMAM_DATA does not name a folder of music");
        return;
    };
    let options = quantize::Settings {
        positions_per_bar: 96,
        chords: true,
        rests: true,
        tempos: false,
        ..Default::default()
    };
    let settings = [quantize::Settings::default(), options];
    let encodings: Vec<_> = settings
        .iter()
        .flat_map(specs)
        .map(|spec| (spec.name(), spec.build(GENRES).unwrap()))
        .collect();
    let parts = ["train", "test", "hard"];
    let mut folders: Vec<_> = (0..parts.len())
        .map(|part| (part, std::path::Path::new(&data).join(parts[part])))
        .collect();
    let (mut files, mut unreadable, mut tokens) = ([0; 3], 0, [0; 10]);
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
