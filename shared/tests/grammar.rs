//! What every encoding's grammar promises, over random walks through it and over damaged streams.

mod scores;

use famam_shared::encoding::{BarState, Conditioning, Spec, Token};
use famam_shared::instrument::Instrument;
use famam_shared::quantize::{self, quantize};
use famam_shared::score::Score;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use scores::{GENRES, draw, encodings, specs, walk};

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
                    ..Conditioning::default()
                };
                let said = encoding.segment(&conditioning, &body.tokens, body.states[0], 0);
                let decoded = encoding.decode(&said.unwrap()).unwrap();
                assert!(decoded.tracks.contains(track), "{what}");
                if what.starts_with("Event") {
                    let bar = encoding.special().bar;
                    let head = stream.iter().position(|&token| token == bar).unwrap();
                    // A model may say any chord.
                    let music = |tokens: &[Token]| -> Vec<Token> {
                        let chord = |token: &&Token| encoding.kind(**token) == "chord";
                        tokens
                            .iter()
                            .filter(|token| !chord(token))
                            .copied()
                            .collect()
                    };
                    assert_eq!(music(&body.tokens), music(&stream[head..]), "{what}");
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

#[test]
fn a_monophonic_stream_is_of_the_first_of_a_band() {
    let band = [0, 33, 128].map(|i| Instrument::new(i).unwrap());
    for spec in &specs(&quantize::Settings::default())[1..3] {
        let encoding = spec.build(GENRES).unwrap();
        let head = |instruments: Option<&[Instrument]>| {
            let instruments = instruments.map(|all| all.iter().copied().collect());
            let head = encoding.head(&Conditioning {
                instruments,
                ..Conditioning::default()
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
