//! Classifier-free guidance: what is drawn is what the formula says, and off costs nothing.

mod counting;
mod model;

use counting::Counting;
use famam_shared::architecture::{Architecture, Lstm, Transformer};
use famam_shared::encoding::{Conditioning, Token, TokenSet};
use famam_shared::engine::Engine;
use famam_shared::generation::{Generator, Request};
use famam_shared::instrument::Instrument;
use famam_shared::manifest::Precision;
use famam_shared::sampling::{self, Candidates, Control, Guided};
use famam_shared::score::Metre;
use model::{choices_of, engine, rotary, run, small, weights};

fn request(guidance: f32) -> Request {
    let band = [128, 0, 33].map(|i| Instrument::new(i).unwrap_or_default());
    Request {
        conditioning: Conditioning {
            genre: 2,
            instruments: Some(band.into_iter().collect()),
            ..Conditioning::default()
        },
        bars: 6,
        metre: Metre::COMMON,
        micros_per_quarter: 500_000,
        seed: 3,
        sampling: sampling::Settings {
            guidance,
            ..Default::default()
        },
        max_tokens: Some(200),
    }
}

fn generated(engine: &dyn Engine, request: Request) -> Vec<Vec<Token>> {
    let generator = Generator::new(engine, request, Default::default()).expect("a generator");
    generator.map(|bar| bar.expect("a bar").tokens).collect()
}

#[test]
fn guidance_of_1_is_off_and_so_it_is_where_nothing_is_asked_for() {
    let t = small(rotary());
    for choice in choices_of(&t) {
        let engine = engine(&t, &weights(&t, 1), Precision::Int8, 1, choice);
        let counted = |request| {
            let engine = Counting::new(engine.clone());
            let bars = generated(&engine, request);
            (bars, engine.rows())
        };
        let (plain, rows) = counted(request(1.0));
        assert_eq!(rows, 1, "no second row");
        for off in [0.0, -3.0, f32::NAN, f32::INFINITY] {
            assert!(counted(request(off)) == (plain.clone(), 1), "{off}");
        }
        let (guided, rows) = counted(request(4.0));
        assert_eq!(rows, 2);
        assert!(guided != plain);
        assert!(counted(request(4.0)) == (guided, 2), "the same notes again");
        let free = |guidance| Request {
            conditioning: Conditioning::default(),
            ..request(guidance)
        };
        assert!(counted(free(4.0)) == counted(free(1.0)));
    }
}

/// The likeliest token by the formula, over logits that two streams of their own give, of which the second lacks
/// what is `guided`.
fn assert_formula<A: Clone + Into<Architecture>>(model: &A, precision: Precision, guided: Guided) {
    for choice in choices_of(model) {
        let engine = engine(model, &weights(model, 1), precision, 1, choice);
        let guidance = 3.0;
        let request = Request {
            bars: 2,
            max_tokens: Some(40),
            sampling: sampling::Settings {
                temperature: 0.0,
                guided,
                ..request(guidance).sampling
            },
            ..request(guidance)
        };
        let bars = generated(&*engine, request);
        let manifest = engine.manifest();
        let encoding = manifest.encoding.build(manifest.vocabulary.genres.len());
        let encoding = encoding.expect("an encoding");
        let music: Vec<Token> = bars.concat();
        let state = encoding.bar_state(request.metre, request.micros_per_quarter);
        let ends = manifest.architecture.ends();
        let logits = |conditioning: &Conditioning| {
            let head = encoding.head(conditioning);
            let stream = encoding.segment(conditioning, &music, state, 0);
            let (stream, head) = (stream.expect("unmoved"), head.len());
            let (conditions, sequence) = ends.split(&stream, head);
            let mut rows = engine.open(1, 1024).expect("a stream");
            rows.condition(&[conditions]).expect("known tokens");
            let logits = run(&mut *rows, &sequence, || 1);
            (
                stream[..head].to_vec(),
                logits[logits.len() - music.len()..].to_vec(),
            )
        };
        let (head, with) = logits(&request.conditioning);
        let (_, without) = logits(&guided.without(&request.conditioning));
        let mut grammar = encoding.grammar();
        let mut accept = |token: Token| grammar.accept(token).map(|()| grammar.boxed_clone());
        for token in head {
            accept(token).expect("a head");
        }
        let mut allowed = TokenSet::new(encoding.vocabulary_size());
        let mut candidates = Candidates::default();
        let mut checked = 0;
        for (i, pair) in music.windows(2).enumerate() {
            let grammar = accept(pair[0]).expect("what was generated");
            let kind = encoding.kind(pair[1]);
            // Bars that must end, and what they state, are not drawn.
            if matches!(kind, "bar" | "metre" | "tempo") {
                continue;
            }
            grammar.allowed(&mut allowed);
            let mut guided = with[i].clone();
            for (guided, free) in std::iter::zip(&mut guided, &without[i]) {
                *guided = free + guidance * (*guided - free);
            }
            candidates.fill(&guided, &allowed);
            let likeliest = candidates
                .tokens()
                .find(|&token| !matches!(encoding.kind(token), "metre" | "tempo" | "eos"));
            assert_eq!(likeliest, Some(pair[1]), "{choice:?}, token {i}");
            checked += 1;
        }
        assert!(checked > 20, "{choice:?}: {checked} tokens");
    }
}

#[test]
fn what_is_drawn_is_what_the_formula_says() {
    let t = small(rotary());
    let guided = |text: &str| text.parse().expect("names of conditions");
    assert_formula(&t, Precision::Int8, Guided::default());
    assert_formula(&t, Precision::Int8, guided("genre"));
    assert_formula(&t, Precision::Fp32, guided("key, instruments"));
    let added = Transformer {
        conditioning_scale: Some(1.0),
        ..t
    };
    assert_formula(&added, Precision::Int8, Guided::default());
    assert_formula(
        &Lstm {
            conditioning_scale: Some(1.0),
            ..model::lstm::lstm()
        },
        Precision::Fp32,
        Guided::default(),
    );
}

/// Each set is written as it is read, as text and in JSON, and leaves out what it names and nothing else.
#[test]
fn conditions_that_are_guided_are_named() {
    let asked = Conditioning {
        metre: Some(5),
        tempo: Some(6),
        key: Some(3),
        ..request(1.0).conditioning
    };
    let free = Conditioning::default();
    for bits in 0..128_u32 {
        let named = Control::ALL.into_iter().zip(0..);
        let named = named.filter(|(_, bit)| bits >> bit & 1 == 1);
        let guided: Guided = named.map(|(control, _)| control).collect();
        assert_eq!(guided.is_all(), bits == 127);
        let without = guided.without(&asked);
        let has = |control| guided.contains(control);
        assert_eq!(without.genre == free.genre, has(Control::Genre));
        assert_eq!(
            without.instruments == free.instruments,
            has(Control::Instruments)
        );
        assert_eq!(without.key == free.key, has(Control::Key));
        assert_eq!(without.metre == free.metre, has(Control::Metre));
        assert_eq!(without.tempo == free.tempo, has(Control::Tempo));
        assert_eq!(guided.to_string().parse(), Ok(guided));
        let settings = sampling::Settings {
            guided,
            ..Default::default()
        };
        let json = serde_json::to_string(&settings).expect("JSON");
        assert_eq!(json.contains("guided"), bits != 127);
        assert_eq!(serde_json::from_str(&json).ok(), Some(settings), "{json}");
    }
    for wrong in ["", "genres", "genre,", "all,key"] {
        let refused = wrong.parse::<Guided>().map_err(|error| error.to_string());
        assert!(refused.is_err_and(|said| said.contains("instruments, key")));
    }
}
