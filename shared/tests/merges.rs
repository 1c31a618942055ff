//! What merged byte pairs promise on top of every encoding.

mod scores;

use std::collections::HashSet;

use famam_shared::encoding::merges::MAX_EXPANSION;
use famam_shared::encoding::{Conditioning, Encoding, Merges, Pair, Spec, Token, TokenSet};
use famam_shared::quantize::{self, quantize};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use scores::{GENRES, draw, learned, merged, random_score, specs, walk};

/// What a token was merged of, or itself.
fn expansion(merges: &Merges, token: Token) -> Vec<Token> {
    merges.expansion(&token).to_vec()
}

/// A token that is not merged in the vocabulary below, whose genres follow the music.
fn moved_back(encoding: &dyn Encoding, token: Token) -> Token {
    let merged = encoding.merges().unwrap().tokens();
    match token < merged.end {
        true => token,
        false => token - merged.len() as Token,
    }
}

/// Merging as it is defined: over and over the pair of the least rank, of equal ones the leftmost.
fn by_definition(encoding: &dyn Encoding, pairs: &[Pair], stream: &[Token]) -> Vec<Token> {
    let merges = encoding.merges().unwrap();
    let mut stream = stream.to_vec();
    loop {
        let here = |&(left, right): &Pair| {
            let pair = [left, right];
            stream.windows(2).position(|tokens| tokens == pair)
        };
        let Some((at, &(left, right))) = pairs.iter().find_map(|pair| Some((here(pair)?, pair)))
        else {
            return stream;
        };
        let whole = [left, right].map(|token| expansion(merges, token));
        let mut tokens = merges.tokens();
        let token = tokens.find(|&token| expansion(merges, token) == whole.concat());
        stream.splice(at..at + 2, token);
    }
}

#[test]
fn a_range_of_tokens_is_each_of_them() {
    let mut rng = ChaCha8Rng::seed_from_u64(9);
    for _ in 0..500 {
        let size = draw(&mut rng, 1, 400);
        let (mut ranges, mut tokens) = (TokenSet::new(size as usize), TokenSet::new(size as usize));
        for _ in 0..draw(&mut rng, 0, 4) {
            let start = draw(&mut rng, 0, size + 1) as Token;
            let range = start..draw(&mut rng, 0, size + 1) as Token;
            ranges.insert_range(range.clone());
            range.for_each(|token| tokens.insert(token));
        }
        assert_eq!(ranges, tokens);
    }
}

/// The streams of random scores.
fn streams(encoding: &dyn Encoding, rng: &mut ChaCha8Rng, scores: usize) -> Vec<Vec<Token>> {
    let scores = (0..scores).map(|_| random_score(rng));
    let streams = scores.flat_map(|score| {
        let (score, _) = quantize(&score, encoding.quantize_settings());
        let bodies = encoding.encode(&score).into_iter();
        bodies.map(|body| {
            let conditioning = Conditioning {
                genre: 1,
                instruments: Some(body.instruments),
                ..Conditioning::default()
            };
            let stream = encoding.segment(&conditioning, &body.tokens, body.states[0], 0);
            stream.unwrap()
        })
    });
    streams.collect()
}

#[test]
fn merging_is_what_its_definition_says_and_expanding_undoes_it() {
    for (i, spec) in (0..).zip(specs(&quantize::Settings::default())) {
        let mut rng = ChaCha8Rng::seed_from_u64(i);
        let pairs = learned(&spec, 150);
        let encoding = merged(&spec, &pairs).build(GENRES).unwrap();
        let (mut before, mut after) = (0, 0);
        for stream in streams(&*encoding, &mut rng, 12) {
            let seen = encoding.merge(&stream);
            assert_eq!(seen, by_definition(&*encoding, &pairs, &stream));
            assert_eq!(encoding.expand(&seen), stream);
            // As it stands, a stream of merged tokens decodes, to the same music.
            let base = spec.build(GENRES).unwrap();
            let mut plain = stream.clone();
            plain[1] = moved_back(&*encoding, plain[1]);
            assert_eq!(encoding.decode(&seen), base.decode(&plain));
            (before, after) = (before + stream.len(), after + seen.len());
        }
        assert!(20 * after < 19 * before, "{after} of {before}");
    }
}

/// Pairs of few tokens in any order: many expansions come about in several ways, and pairs overlap
/// themselves.
#[test]
fn pairs_that_overlap_and_tokens_that_are_merged_in_several_ways_keep_the_order() {
    let spec = specs(&quantize::Settings::default())[0].clone();
    let base = spec.build(GENRES).unwrap();
    let genre = base.head(&Conditioning::default())[1];
    let pitch = (0..genre).find(|&token| base.kind(token) == "pitch");
    let pitch = pitch.unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let mut twice = 0;
    for _ in 0..300 {
        let mut pairs: Vec<Pair> = Vec::new();
        while pairs.len() < 12 {
            let build = |pairs: &[Pair]| merged(&spec, pairs).build(GENRES);
            let known = build(&pairs).unwrap().merges().unwrap().tokens().len() as u32;
            let mut any = || match draw(&mut rng, 0, 2 + known) {
                base @ 0..2 => pitch + base as u16,
                number => genre + number as u16 - 2,
            };
            pairs.push((any(), any()));
            if build(&pairs).is_err() {
                pairs.pop();
            }
        }
        let encoding = merged(&spec, &pairs).build(GENRES).unwrap();
        twice += usize::from(encoding.merges().unwrap().tokens().len() < 12);
        for _ in 0..20 {
            let length = draw(&mut rng, 0, 60);
            let word: Vec<Token> = (0..length)
                .map(|_| pitch + draw(&mut rng, 0, 2) as u16)
                .collect();
            let seen = encoding.merge(&word);
            assert_eq!(seen, by_definition(&*encoding, &pairs, &word), "{pairs:?}");
            assert_eq!(encoding.expand(&seen), word);
        }
    }
    assert!(twice > 30, "{twice}");
}

/// Each bar is merged as if it stood alone, and the head not at all.
#[test]
fn nothing_is_merged_over_a_bar_line_or_in_a_head() {
    for spec in specs(&quantize::Settings::default()) {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let encoding = merged(&spec, &learned(&spec, 300)).build(GENRES).unwrap();
        let stream = walk(&*spec.build(GENRES).unwrap(), &mut rng, 600);
        let special = encoding.special();
        let parts = stream.chunk_by(|_, &next| next != special.bar && next != special.eos);
        let apart: Vec<Token> = parts
            .flat_map(|part| encoding.merge(part).into_owned())
            .collect();
        assert_eq!(encoding.merge(&stream), apart);
        let count = |tokens: &[Token]| tokens.iter().filter(|&&t| t == special.bar).count();
        assert_eq!(count(&apart), count(&stream));
        let all = Conditioning {
            genre: 2,
            instruments: Some(famam_shared::instrument::Instrument::all().collect()),
            ..Conditioning::default()
        };
        let head = encoding.head(&all);
        assert_eq!(encoding.merge(&head), head);
    }
}

/// A merged token may follow exactly where the base grammar takes its tokens one by one.
#[test]
fn the_grammar_allows_what_its_expansion_may_say() {
    for (i, spec) in (0..).zip(specs(&quantize::Settings::default())) {
        let mut rng = ChaCha8Rng::seed_from_u64(20 + i);
        let encoding = merged(&spec, &learned(&spec, 200)).build(GENRES).unwrap();
        let merges = encoding.merges().unwrap();
        let base = spec.build(GENRES).unwrap();
        let mut met = HashSet::new();
        let music = streams(&*encoding, &mut rng, 2).into_iter();
        let music = music.map(|stream| {
            encoding
                .merge(&stream[..stream.len().min(400)])
                .into_owned()
        });
        let walks = (0..2).map(|_| walk(&*encoding, &mut rng.clone(), 150));
        for stream in music.take(6).chain(walks.collect::<Vec<_>>()) {
            let (mut over, mut under) = (encoding.grammar(), base.grammar());
            let mut next = TokenSet::new(encoding.vocabulary_size());
            let mut alone = TokenSet::new(base.vocabulary_size());
            for &token in &stream {
                over.allowed(&mut next);
                under.allowed(&mut alone);
                for token in 0..encoding.vocabulary_size() as Token {
                    let mut under = under.boxed_clone();
                    let mut said = merges.expansion(&token).iter();
                    let taken = said.try_for_each(|&t| under.accept(moved_back(&*encoding, t)));
                    assert_eq!(
                        next.contains(token),
                        taken.is_ok(),
                        "{}",
                        encoding.name(token)
                    );
                    met.extend(
                        (taken.is_ok() && merges.tokens().contains(&token)).then_some(token),
                    );
                }
                over.accept(token).unwrap();
                let said = merges.expansion(&token).iter();
                said.for_each(|&t| under.accept(moved_back(&*encoding, t)).unwrap());
            }
            // What it allows decodes.
            encoding.decode(&stream).unwrap();
        }
        assert!(met.len() > 50, "{}", met.len());
    }
}

/// More genres move neither a merge nor what is merged.
#[test]
fn a_vocabulary_takes_on_genres_without_a_change_to_its_merges() {
    for spec in specs(&quantize::Settings::default()) {
        let spec = merged(&spec, &learned(&spec, 80));
        let (few, many) = (spec.build(2).unwrap(), spec.build(40).unwrap());
        assert_eq!(many.vocabulary_size(), few.vocabulary_size() + 38);
        let expansions = |encoding: &dyn Encoding| -> Vec<Vec<Token>> {
            let merges = encoding.merges().unwrap();
            merges
                .tokens()
                .map(|token| expansion(merges, token))
                .collect()
        };
        assert_eq!(expansions(&*few), expansions(&*many));
        for token in 0..few.vocabulary_size() as Token {
            assert_eq!(few.name(token), many.name(token));
        }
    }
}

#[test]
fn a_spec_with_merges_is_told_by_its_json_and_one_without_is_as_it_was() {
    let spec = specs(&quantize::Settings::default())[0].clone();
    let json = serde_json::to_value(&spec).unwrap();
    assert_eq!(json["kind"], "multitrack");
    let pairs = learned(&spec, 3);
    let with = merged(&spec, &pairs);
    assert_eq!(
        serde_json::to_value(&with).unwrap(),
        serde_json::json!({ "kind": "merged", "base": json, "merges": pairs })
    );
    assert_eq!((with.base(), with.merges()), (&spec, &pairs[..]));
    assert_eq!(
        (with.name(), with.settings()),
        (spec.name(), spec.settings())
    );
    let read: Spec = serde_json::from_str(&serde_json::to_string(&with).unwrap()).unwrap();
    assert_eq!(read, with);
}

#[test]
fn pairs_that_are_none_are_refused() {
    let spec = specs(&quantize::Settings::default())[0].clone();
    let base = spec.build(GENRES).unwrap();
    let genre = base.head(&Conditioning::default())[1];
    let of = |kind: &str| (0..genre).find(|&token| base.kind(token) == kind).unwrap();
    let (pitch, duration, bar) = (of("pitch"), of("duration"), of("bar"));
    let instrument = of("instrument");
    let doubled = (0..MAX_EXPANSION as u16).map(|i| match i {
        0 => (pitch, pitch),
        i => (genre + i - 1, genre + i - 1),
    });
    let refusals: [(Vec<Pair>, &str); 8] = [
        (vec![(bar, pitch)], "music's tokens"),
        (vec![(pitch, bar)], "music's tokens"),
        (vec![(0, 0)], "music's tokens"),
        // Of itself, and of what comes later.
        (vec![(pitch, genre)], "merged before"),
        (vec![(pitch, duration), (pitch, genre + 1)], "merged before"),
        (vec![(pitch, duration); 2], "each pair once"),
        (vec![(instrument, instrument + 1)], "no instrument before"),
        (doubled.collect(), "at most 32"),
    ];
    for (pairs, expected) in refusals {
        let error = merged(&spec, &pairs)
            .build(GENRES)
            .err()
            .unwrap()
            .to_string();
        assert!(
            error.starts_with("merges is") && error.contains(expected),
            "{error}"
        );
    }
    let many = vec![(pitch, duration); 1 << 16];
    let error = merged(&spec, &many)
        .build(GENRES)
        .err()
        .unwrap()
        .to_string();
    assert!(
        error.contains("65536") && error.contains("65,535"),
        "{error}"
    );
    let nested = merged(&merged(&spec, &[]), &[]);
    assert!(nested.build(GENRES).is_err());
    merged(&spec, &[]).build(GENRES).unwrap();
}

/// Over every file of the corpus, where it is there.
#[test]
fn every_file_of_the_corpus_is_merged_and_expanded() {
    let Some(folder) = std::env::var_os("FAMAM_DATA") else {
        eprintln!("skipped: FAMAM_DATA is not set");
        return;
    };
    let mut files = Vec::new();
    let mut folders = vec![std::path::PathBuf::from(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false => files.push(path),
            }
        }
    }
    files.sort();
    let specs = specs(&quantize::Settings::default()).map(|spec| {
        let with = merged(&spec, &learned(&spec, 500));
        with.build(GENRES).unwrap()
    });
    let (mut before, mut after) = (0, 0);
    for path in files {
        let Ok(score) = famam_shared::midi::read_file(&path) else {
            continue;
        };
        for encoding in &specs {
            let (quantized, _) = quantize(&score, encoding.quantize_settings());
            for body in encoding.encode(&quantized) {
                let seen = encoding.merge(&body.tokens);
                assert_eq!(encoding.expand(&seen), body.tokens, "{}", path.display());
                (before, after) = (before + body.tokens.len(), after + seen.len());
            }
        }
    }
    eprintln!("{before} tokens, merged {after}");
}
