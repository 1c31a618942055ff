//! What the generator promises, with a model that knows nothing: its logits are a hash of all the
//! tokens in its cache, so that the notes show exactly what it was given.

mod manifest;
mod scores;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use famam_shared::encoding::{Conditioning, Spec, Token, grid, mmm};
use famam_shared::engine::{Engine, EngineError, Stream};
use famam_shared::generation::{GenerationError, Generator, PROMPT_CHUNK, Request, fill_in};
use famam_shared::instrument::{Instrument, InstrumentSet};
use famam_shared::manifest::{Context, Manifest};
use famam_shared::quantize::{self, quantize};
use famam_shared::sampling;
use famam_shared::score::{Metre, Note, Score, Ticks};
use ndarray::{Array3, ArrayView3};

/// What the model was asked, for all its streams.
#[derive(Default)]
struct Log {
    /// The tokens of each run since the last clear.
    runs: Mutex<Vec<Vec<Token>>>,
    clears: AtomicUsize,
    longest: AtomicUsize,
}

struct Oracle {
    manifest: Manifest,
    vocabulary: usize,
    log: Arc<Log>,
}

struct OracleStream {
    cache: Vec<Token>,
    capacity: usize,
    logits: Array3<f32>,
    vocabulary: usize,
    log: Arc<Log>,
}

impl Engine for Oracle {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }
    fn name(&self) -> String {
        "oracle".to_owned()
    }
    fn open(&self, batch: usize, capacity: usize) -> Result<Box<dyn Stream>, EngineError> {
        assert_eq!(batch, 1);
        Ok(Box::new(OracleStream {
            cache: Vec::new(),
            capacity,
            logits: Array3::zeros((0, 0, 0)),
            vocabulary: self.vocabulary,
            log: self.log.clone(),
        }))
    }
}

/// FNV-1a over tokens and a salt.
fn hash(tokens: &[Token], salt: u64) -> u64 {
    tokens
        .iter()
        .map(|&token| u64::from(token))
        .chain([salt])
        .fold(0xcbf2_9ce4_8422_2325, |h, x| {
            (h ^ x).wrapping_mul(0x0100_0000_01b3).rotate_left(23)
        })
}

impl Stream for OracleStream {
    fn run(&mut self, tokens: &[&[Token]]) -> Result<ArrayView3<'_, f32>, EngineError> {
        let [tokens] = tokens else { panic!("one row") };
        assert!(tokens.len() <= PROMPT_CHUNK);
        assert!(
            self.cache.len() + tokens.len() <= self.capacity,
            "the context is kept"
        );
        self.logits = Array3::from_shape_fn((1, tokens.len(), self.vocabulary), |(_, i, token)| {
            let past = hash(&self.cache, hash(&tokens[..=i], token as u64));
            (past >> 40) as f32 / (1u64 << 24) as f32 * 4.0
        });
        self.cache.extend_from_slice(tokens);
        self.log.runs.lock().unwrap().push(tokens.to_vec());
        self.log
            .longest
            .fetch_max(self.cache.len(), Ordering::Relaxed);
        Ok(self.logits.view())
    }
    fn condition(&mut self, conditions: &[&[Token]]) -> Result<(), EngineError> {
        assert!(conditions.iter().all(|row| row.is_empty()));
        Ok(())
    }
    fn keep(&mut self, lengths: &[usize]) {
        if self.cache.len() > lengths[0] {
            self.clear();
        }
    }
    fn clear(&mut self) {
        self.cache.clear();
        self.log.runs.lock().unwrap().clear();
        self.log.clears.fetch_add(1, Ordering::Relaxed);
    }
    fn len(&self, _row: usize) -> usize {
        self.cache.len()
    }
    fn is_empty(&self) -> bool {
        self.cache.is_empty()
    }
}

fn oracle(context: Context) -> Oracle {
    oracle_in(Spec::Multitrack(quantize::Settings::default()), context)
}

fn oracle_in(encoding: Spec, context: Context) -> Oracle {
    let manifest = manifest::manifest(encoding, &["rock", "jazz"], context);
    Oracle {
        vocabulary: manifest.architecture.vocabulary(),
        manifest,
        log: Arc::default(),
    }
}

fn request() -> Request {
    let band = [
        Instrument::DRUMS,
        Instrument::new(33).unwrap(),
        Instrument::new(0).unwrap(),
    ];
    Request {
        conditioning: Conditioning {
            genre: 1,
            instruments: Some(band.into_iter().collect()),
            ..Conditioning::default()
        },
        bars: 20,
        metre: Metre {
            numerator: 3,
            ..Metre::COMMON
        },
        micros_per_quarter: 500_000,
        seed: 1,
        sampling: sampling::Settings {
            top_k: 0,
            ..Default::default()
        },
        max_tokens: None,
    }
}

fn bars(oracle: &Oracle, request: Request) -> Vec<Vec<Token>> {
    let generator = Generator::new(oracle, request, Arc::default()).unwrap();
    generator.map(|bar| bar.unwrap().tokens).collect()
}

#[test]
fn a_request_gets_its_bars_metre_and_instruments() {
    let oracle = oracle(Context {
        tokens: 1024,
        bars: 8,
    });
    for seed in 0..20 {
        let request = Request { seed, ..request() };
        let mut generator = Generator::new(&oracle, request, Arc::default()).unwrap();
        let bars: Vec<_> = generator.by_ref().map(Result::unwrap).collect();
        assert!(bars.iter().map(|bar| bar.index).eq(0..20));
        let played: InstrumentSet = bars
            .iter()
            .flat_map(|bar| &bar.notes)
            .map(|(instrument, _)| *instrument)
            .collect();
        let asked = request.conditioning.instruments.unwrap();
        assert!(played.iter().all(|instrument| asked.contains(instrument)));
        let score = generator.score(&bars);
        assert!(
            score
                .bars()
                .take(20)
                .all(|bar| bar.metre.bar().0 == 3 * 960)
        );
        assert_eq!(
            score.note_count(),
            bars.iter().map(|bar| bar.notes.len()).sum::<usize>()
        );
        let settings = quantize::Settings::default();
        assert_eq!(
            quantize(&score, &settings).0.tracks,
            score.tracks,
            "it is a quantized score"
        );
    }
    assert!(oracle.log.longest.load(Ordering::Relaxed) <= 1024);
}

#[test]
fn one_seed_gives_the_same_notes_and_another_gives_others() {
    let oracle = oracle(Context {
        tokens: 1024,
        bars: 8,
    });
    assert_eq!(bars(&oracle, request()), bars(&oracle, request()));
    assert_ne!(
        bars(&oracle, request()),
        bars(
            &oracle,
            Request {
                seed: 2,
                ..request()
            }
        )
    );
    // A shorter request is the beginning of a longer one.
    let short = bars(
        &oracle,
        Request {
            bars: 11,
            ..request()
        },
    );
    assert_eq!(short, bars(&oracle, request())[..11]);
}

#[test]
fn a_full_context_goes_on_from_its_last_half_alone() {
    let oracle = oracle(Context {
        tokens: 1 << 15,
        bars: 8,
    });
    let written = bars(&oracle, request());
    assert_eq!(
        oracle.log.clears.load(Ordering::Relaxed),
        1 + 3,
        "after bars 8, 12 and 16"
    );
    // The last prompt is the head, bars 12 to 15 with metre and tempo stated, and BAR.
    let encoding = oracle.manifest.encoding.build(3).unwrap();
    let state = encoding.bar_state(request().metre, request().micros_per_quarter);
    let body: Vec<Token> = written[12..16]
        .iter()
        .flatten()
        .chain(&written[0][..1])
        .copied()
        .collect();
    let prompt = encoding
        .segment(&request().conditioning, &body, state, 0)
        .unwrap();
    let runs = oracle.log.runs.lock().unwrap().concat();
    assert_eq!(runs[..prompt.len()], prompt);
    assert_eq!(runs[prompt.len()..], written[16..].concat()[1..]);
}

#[test]
fn bars_too_long_for_the_context_end_early_and_whole() {
    for tokens in [64, 100, 200] {
        let oracle = oracle(Context { tokens, bars: 8 });
        let mut generator = Generator::new(&oracle, request(), Arc::default()).unwrap();
        assert_eq!(generator.by_ref().map(Result::unwrap).count(), 20);
        assert!(oracle.log.longest.load(Ordering::Relaxed) <= tokens);
    }
}

/// With merged byte pairs the model sees them and says them, and all else is in base tokens.
#[test]
fn a_model_of_merged_byte_pairs_is_prompted_and_read_in_them() {
    for base in scores::specs(&quantize::Settings::default()) {
        let spec = scores::merged(&base, &scores::learned(&base, 400));
        let encoding = spec.build(3).unwrap();
        let merged = encoding.merges().unwrap().tokens();
        let (mut said, mut long) = (0, 0);
        for (tokens, seed) in [(64, 1), (100, 2), (300, 3), (1 << 15, 4)] {
            let oracle = oracle_in(spec.clone(), Context { tokens, bars: 8 });
            let request = Request { seed, ..request() };
            let written = bars(&oracle, request);
            assert_eq!(written, bars(&oracle, request));
            assert_eq!(written.len(), 20);
            assert!(oracle.log.longest.load(Ordering::Relaxed) <= tokens);
            let all = written.concat();
            assert!(!all.iter().any(|token| merged.contains(token)));
            let conditioning = &request.conditioning;
            let state = encoding.bar_state(request.metre, request.micros_per_quarter);
            let stream = encoding.segment(conditioning, &all, state, 0).unwrap();
            encoding.decode(&stream).unwrap();

            let runs = oracle.log.runs.lock().unwrap().concat();
            said += runs.iter().filter(|token| merged.contains(*token)).count();
            if tokens < 1 << 15 || encoding.window_bars().is_some() {
                continue;
            }
            // The last prompt holds bars 12 to 15, merged; what was drawn after it says the others.
            let body = [&written[12..16].concat()[..], &written[0][..1]].concat();
            let prompt = encoding.segment(conditioning, &body, state, 0).unwrap();
            let prompt = encoding.merge(&prompt);
            assert_eq!(runs[..prompt.len()], *prompt);
            let drawn = encoding.expand(&runs[prompt.len()..]);
            assert_eq!(*drawn, written[16..].concat()[1..]);
            long += 1;
            // A limit counts what was drawn.
            let limited = Request {
                max_tokens: Some(200),
                ..request
            };
            let mut generator = Generator::new(&oracle, limited, Arc::default()).unwrap();
            generator.by_ref().for_each(|bar| drop(bar.unwrap()));
            assert!((200..210).contains(&generator.tokens_drawn()));
        }
        assert!(
            said > 50 && (long == 1 || encoding.window_bars().is_some()),
            "{said} merged tokens"
        );
    }
}

#[test]
fn a_limit_on_tokens_ends_with_a_whole_bar() {
    let oracle = oracle(Context {
        tokens: 1024,
        bars: 8,
    });
    let request = Request {
        max_tokens: Some(300),
        ..request()
    };
    let mut generator = Generator::new(&oracle, request, Arc::default()).unwrap();
    let bars = generator.by_ref().map(Result::unwrap).count();
    assert!(bars < 20);
    assert!((300..310).contains(&generator.tokens_drawn()));
}

#[test]
fn cancelling_ends_it_at_the_next_token() {
    let oracle = oracle(Context {
        tokens: 1024,
        bars: 8,
    });
    let cancel = Arc::new(AtomicBool::new(false));
    let mut generator = Generator::new(&oracle, request(), cancel.clone()).unwrap();
    assert!(generator.next().unwrap().is_ok());
    cancel.store(true, Ordering::Relaxed);
    let before = generator.tokens_drawn();
    assert!(matches!(
        generator.next(),
        Some(Err(GenerationError::Cancelled))
    ));
    assert!(generator.tokens_drawn() <= before + 1);
    assert!(generator.next().is_none());
}

#[test]
fn a_genre_that_the_model_lacks_is_refused() {
    let oracle = oracle(Context {
        tokens: 1024,
        bars: 8,
    });
    let conditioning = Conditioning {
        genre: 3,
        ..Conditioning::default()
    };
    let request = Request {
        conditioning,
        ..request()
    };
    let error = Generator::new(&oracle, request, Arc::default())
        .err()
        .unwrap();
    assert!(matches!(error, GenerationError::Request(_)), "{error}");
}

/// Of every encoding, with velocities and without, with contexts that are full in the middle of
/// bars and after some, for a drummer, a player and any: whole bars, of one instrument each time.
#[test]
fn monophonic_models_give_whole_bars_whose_notes_have_ended() {
    let settings = |velocity_bins| quantize::Settings {
        velocity_bins,
        ..Default::default()
    };
    let specs = [
        Spec::Remi(settings(32)),
        Spec::Event(settings(32)),
        Spec::Remi(settings(0)),
        Spec::Event(settings(0)),
    ];
    let (drums, bass) = (Instrument::DRUMS, Instrument::new(33).unwrap());
    let bands: [(Option<&[Instrument]>, &[u8]); 4] = [
        (Some(&[drums]), &[128]),
        (Some(&[bass]), &[33]),
        (Some(&[bass, drums]), &[128]),
        (None, &[0, 128]),
    ];
    for spec in specs {
        for (tokens, bars) in [(64, 8), (150, 8), (1024, 2), (1024, 8)] {
            let oracle = oracle_in(spec.clone(), Context { tokens, bars });
            for (seed, (band, played)) in (0..4).zip(bands) {
                let instruments = band.map(|band| band.iter().copied().collect());
                let conditioning = Conditioning {
                    genre: 1,
                    instruments,
                    ..Conditioning::default()
                };
                let request = Request {
                    conditioning,
                    seed,
                    ..request()
                };
                let what = format!("{spec:?}, {tokens} tokens, {bars} bars, {band:?}");
                let cancel = Arc::default();
                let mut generator = Generator::new(&oracle, request, cancel).unwrap();
                let bars: Vec<_> = generator.by_ref().map(Result::unwrap).collect();
                assert!(bars.iter().map(|bar| bar.index).eq(0..20), "{what}");
                let bar = oracle.manifest.encoding.build(3).unwrap().special().bar;
                assert!(
                    bars.iter().all(|written| written.tokens[0] == bar),
                    "{what}"
                );
                let notes = bars.iter().flat_map(|bar| &bar.notes);
                assert!(notes.clone().all(|(by, _)| played.contains(&by.index())));
                let score = generator.score(&bars);
                assert_eq!(score.note_count(), notes.count(), "{what}");
                assert!(score.note_count() > 20, "{what}");
                // No note was cut to make it fit, and none goes on behind the last bar.
                let quantized = quantize(&score, spec.settings());
                assert_eq!(quantized.0.tracks, score.tracks, "{what}");
                if matches!(spec, Spec::Event(_)) {
                    // A note that sounds is not struck again, so bars say what the score says.
                    let handed_out = bars.iter().flat_map(|bar| {
                        let start = bar.index * 3 * 960;
                        let at = move |note: &Note| Note {
                            start: Ticks(start) + note.start,
                            ..*note
                        };
                        bar.notes.iter().map(move |(by, note)| (*by, at(note)))
                    });
                    let mut handed_out: Vec<_> = handed_out.collect();
                    handed_out.sort_unstable();
                    let tracks = score
                        .tracks
                        .iter()
                        .flat_map(|track| track.notes.iter().map(|note| (track.instrument, *note)));
                    let mut in_score: Vec<_> = tracks.collect();
                    in_score.sort_unstable();
                    assert_eq!(handed_out, in_score, "{what}");
                    assert_eq!(score.end, Ticks(20 * 3 * 960), "{what}");
                }
            }
            assert!(oracle.log.longest.load(Ordering::Relaxed) <= tokens);
        }
    }
}

/// The songs that people have name a model and a seed: FNV-1a over what 30 requests gave before
/// there were other encodings.
#[test]
fn the_notes_of_multitrack_for_a_seed_never_change() {
    let mut sum = 0;
    for (tokens, bars) in [(100, 8), (300, 8), (1024, 3)] {
        let oracle = oracle(Context { tokens, bars });
        for seed in 0..10 {
            let mut request = Request { seed, ..request() };
            // As it was where nothing was said.
            request.sampling.top_p = 0.97;
            let generator = Generator::new(&oracle, request, Arc::default()).unwrap();
            for bar in generator.map(Result::unwrap) {
                let notes = bar.notes.iter().flat_map(|(by, note)| {
                    let times = [note.start, note.duration].map(|ticks| ticks.0 as Token);
                    [
                        times[0],
                        times[1],
                        by.index().into(),
                        note.pitch.into(),
                        note.velocity.into(),
                    ]
                });
                let said: Vec<Token> = bar.tokens.iter().copied().chain(notes).collect();
                sum = hash(&said, sum);
            }
        }
    }
    assert_eq!(sum, 6_382_662_553_233_913_227);
}

fn mmm(window_bars: u16, velocity_bins: u16) -> Spec {
    Spec::Mmm(mmm::Settings {
        music: quantize::Settings {
            velocity_bins,
            ..Default::default()
        },
        window_bars,
    })
}

/// Of windows of 1 to 8 bars, in contexts that are full inside of windows and after some: the bars
/// that were asked for, also where they are no whole windows.
#[test]
fn windows_give_whole_bars_of_the_instruments_that_are_asked_for() {
    let mut specs = [(1, 32), (2, 0), (4, 32), (8, 32)].map(|(bars, bins)| mmm(bars, bins));
    if let Spec::Mmm(settings) = &mut specs[2] {
        (settings.music.chords, settings.music.rests) = (true, true);
    }
    for spec in specs {
        for (tokens, most) in [(64, 8), (150, 8), (1024, 2), (1024, 16)] {
            let oracle = oracle_in(spec.clone(), Context { tokens, bars: most });
            for (seed, asked) in [(1, 1), (2, 7), (3, 20)] {
                let what = format!("{spec:?}, {tokens} tokens, {most} bars, {asked} asked");
                let request = Request {
                    seed,
                    bars: asked,
                    ..request()
                };
                let mut generator = Generator::new(&oracle, request, Arc::default()).unwrap();
                let bars: Vec<_> = generator.by_ref().map(Result::unwrap).collect();
                assert!(bars.iter().map(|bar| bar.index).eq(0..asked), "{what}");
                let encoding = spec.build(3).unwrap();
                let bar = encoding.special().bar;
                assert!(bars.iter().all(|written| written.tokens[0] == bar));
                let band = request.conditioning.instruments.unwrap();
                let notes = bars.iter().flat_map(|bar| &bar.notes);
                assert!(notes.clone().all(|(by, _)| band.contains(*by)), "{what}");
                let score = generator.score(&bars);
                assert_eq!(score.note_count(), notes.count(), "{what}");
                assert!(
                    score.note_count() > 20 || tokens == 64 || asked < 20,
                    "{what}"
                );
                assert_eq!(quantize(&score, spec.settings()).0.tracks, score.tracks);
            }
            assert!(oracle.log.longest.load(Ordering::Relaxed) <= tokens);
        }
    }
}

/// All bars of a window come when its last track is done; the next one follows those before it, the
/// last half of them where the context is full.
#[test]
fn a_window_follows_the_windows_before_it() {
    let oracle = oracle_in(
        mmm(4, 32),
        Context {
            tokens: 1 << 15,
            bars: 16,
        },
    );
    let request = Request {
        bars: 22,
        ..request()
    };
    let mut generator = Generator::new(&oracle, request, Arc::default()).unwrap();
    let encoding = oracle.manifest.encoding.build(3).unwrap();
    let mut drawn = Vec::new();
    let mut bars = Vec::new();
    for _ in 0..22 {
        bars.push(generator.next().unwrap().unwrap());
        drawn.push(generator.tokens_drawn());
        if drawn.len() == 16 {
            // Nothing was forgotten yet: what the model saw is a stream that says these bars.
            let seen = oracle.log.runs.lock().unwrap().concat();
            let decoded = encoding.decode(&seen).unwrap();
            assert_eq!(decoded, generator.score(&bars));
        }
    }
    assert!(generator.next().is_none());
    let windows: Vec<_> = drawn.chunk_by(|a, b| a == b).map(<[_]>::len).collect();
    assert_eq!(windows, [4, 4, 4, 4, 4, 2]);
    assert_eq!(oracle.log.clears.load(Ordering::Relaxed), 2);
    // What was seen last: the head, bars 8 to 15, 16 to 19 and the last two.
    let seen = oracle.log.runs.lock().unwrap().concat();
    let state = encoding.bar_state(request.metre, request.micros_per_quarter);
    let body: Vec<Token> = bars[8..]
        .iter()
        .flat_map(|bar| bar.tokens.clone())
        .collect();
    let head = encoding.head(&request.conditioning);
    let shown = encoding
        .begun_with(&request.conditioning, &body, state, 0)
        .unwrap();
    assert_eq!(seen[..head.len()], head);
    assert_eq!(
        *encoding.bar_by_bar(&seen[head.len()..]),
        shown[head.len()..]
    );
}

/// Bars that are asked for again are other ones, all the rest of the piece stays as it is, and the
/// model was given all of it that is near.
#[test]
fn bars_are_filled_in_given_all_the_others() {
    let spec = mmm(4, 32);
    check_filling_in(&scores::merged(&spec, &scores::learned(&spec, 200)));
    check_filling_in(&spec);
}

fn grid() -> Spec {
    Spec::Grid(grid::Settings::default())
}

/// The same where cells are said behind all that is known, before and after them.
#[test]
fn cells_are_filled_in_given_all_the_others() {
    let spec = grid();
    check_filling_in(&scores::merged(&spec, &scores::learned(&spec, 200)));
    check_filling_in(&spec);
}

/// In contexts that hold all bars or few of them: every wanted cell is said, all others stay, and an
/// instrument that the score lacks can be asked for.
#[test]
fn cells_of_a_new_instrument_are_filled_in() {
    let drums = Instrument::new(128).unwrap();
    let (piano, bass) = (Instrument::new(0).unwrap(), Instrument::new(33).unwrap());
    let make = oracle_in(
        grid(),
        Context {
            tokens: 2048,
            bars: 8,
        },
    );
    let band = |band: &[Instrument]| Conditioning {
        instruments: Some(band.iter().copied().collect()),
        ..Conditioning::default()
    };
    let request = Request {
        bars: 9,
        conditioning: band(&[piano, bass]),
        ..request()
    };
    let mut generator = Generator::new(&make, request, Arc::default()).unwrap();
    let bars: Vec<_> = generator.by_ref().map(Result::unwrap).collect();
    assert_eq!(bars.len(), 9);
    let (piece, _) = quantize(&generator.score(&bars), grid().settings());
    let with_drums = Request {
        conditioning: band(&[drums]),
        ..request
    };
    let known = |score: &Score| -> Vec<_> {
        let tracks = score
            .tracks
            .iter()
            .filter(|track| !track.instrument.is_drums());
        tracks.map(|track| track.notes.clone()).collect()
    };
    for (tokens, bars) in [(8192, 64), (2048, 4), (1024, 64)] {
        let oracle = oracle_in(grid(), Context { tokens, bars });
        let open = |_, instrument| instrument == drums;
        let filled = fill_in(&oracle, with_drums, &piece, &open, Arc::default()).unwrap();
        assert_eq!(known(&filled), known(&piece), "{tokens}, {bars}");
        let drum = filled.tracks.iter().find(|track| track.instrument == drums);
        assert!(
            drum.is_some_and(|track| track.notes.len() > 5),
            "{tokens}, {bars}"
        );
        assert!(oracle.log.longest.load(Ordering::Relaxed) <= tokens);
    }
}

/// As where every part is in one stream: no number and no wanted cell among what is drawn.
#[test]
fn cells_give_whole_bars_of_the_instruments_that_are_asked_for() {
    for (tokens, bars) in [(64, 8), (150, 8), (1024, 16)] {
        let oracle = oracle_in(grid(), Context { tokens, bars });
        for (seed, asked) in [(1, 1), (2, 7), (3, 20)] {
            let request = Request {
                seed,
                bars: asked,
                ..request()
            };
            let mut generator = Generator::new(&oracle, request, Arc::default()).unwrap();
            let bars: Vec<_> = generator.by_ref().map(Result::unwrap).collect();
            assert!(bars.iter().map(|bar| bar.index).eq(0..asked));
            let encoding = grid().build(3).unwrap();
            let kind = |token: &Token| encoding.kind(*token);
            let said = bars.iter().flat_map(|bar| &bar.tokens);
            assert!(
                !said
                    .clone()
                    .any(|token| ["at", "fill"].contains(&kind(token)))
            );
            let band = request.conditioning.instruments.unwrap();
            let mut notes = bars.iter().flat_map(|bar| &bar.notes);
            assert!(notes.all(|(by, _)| band.contains(*by)));
            let score = generator.score(&bars);
            assert!(score.note_count() > 20 || tokens == 64 || asked < 20);
            assert_eq!(quantize(&score, grid().settings()).0.tracks, score.tracks);
        }
        assert!(oracle.log.longest.load(Ordering::Relaxed) <= tokens);
    }
}

fn check_filling_in(spec: &Spec) {
    let context = Context {
        tokens: 4096,
        bars: 16,
    };
    let oracle = oracle_in(spec.clone(), context);
    let request = Request {
        bars: 14,
        ..request()
    };
    let mut generator = Generator::new(&oracle, request, Arc::default()).unwrap();
    let bars: Vec<_> = generator.by_ref().map(Result::unwrap).collect();
    assert_eq!(bars.len(), 14);
    let (piece, _) = quantize(&generator.score(&bars), spec.settings());
    let bass = Instrument::new(33).unwrap();
    let bar = |note: &Note| note.start.0 / (3 * 960);
    let open = |bar: u32, instrument| instrument == bass && (bar == 5 || bar >= 12);
    let fill = |score: &Score, seed| {
        let request = Request { seed, ..request };
        fill_in(&oracle, request, score, &open, Arc::default()).unwrap()
    };
    let filled = fill(&piece, 1);
    assert_eq!(filled, fill(&piece, 1));
    assert_ne!(filled, fill(&piece, 2));
    // The last bars may sound on for longer.
    assert!(filled.bars().count() >= 14);
    let notes = |score: &Score, opened: bool| -> Vec<(Instrument, Note)> {
        let tracks = score.tracks.iter();
        let notes =
            tracks.flat_map(|track| track.notes.iter().map(|note| (track.instrument, *note)));
        notes
            .filter(|(by, note)| open(bar(note), *by) == opened)
            .collect()
    };
    // A note may be cut where the same pitch is struck in a new bar.
    let starts = |score: &Score| -> Vec<_> {
        let notes = notes(score, false).into_iter();
        notes
            .map(|(by, note)| (by, note.start, note.pitch, note.velocity))
            .collect()
    };
    assert_eq!(starts(&filled), starts(&piece));
    assert_ne!(notes(&filled, true), notes(&piece, true));
    // Nothing to fill in is nothing to do.
    let runs = || oracle.log.clears.load(Ordering::Relaxed);
    let before = runs();
    let nothing = fill_in(&oracle, request, &piece, &|_, _| false, Arc::default());
    assert_eq!((nothing.unwrap(), runs()), (piece.clone(), before));

    let stopped = Arc::new(AtomicBool::new(true));
    let error = fill_in(&oracle, request, &piece, &open, stopped).unwrap_err();
    assert!(matches!(error, GenerationError::Cancelled));
    let narrow = oracle_in(
        spec.clone(),
        Context {
            tokens: 16,
            bars: 8,
        },
    );
    let error = fill_in(&narrow, request, &piece, &|_, _| true, Arc::default()).unwrap_err();
    assert!(matches!(error, GenerationError::Narrow { .. }), "{error}");
    let whole = oracle_in(Spec::Multitrack(Default::default()), context);
    let error = fill_in(&whole, request, &piece, &open, Arc::default()).unwrap_err();
    assert!(matches!(error, GenerationError::Whole), "{error}");
}
