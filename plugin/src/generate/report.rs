//! What is said of a piece.

use std::collections::BTreeSet;
use std::path::Path;

use famam_shared::encoding::{Conditioning, Encoding};
use famam_shared::engine::Engine;
use famam_shared::generation::Verdict;
use famam_shared::midi;
use famam_shared::quantize::quantize;
use famam_shared::say::say;
use famam_shared::score::Score;

use super::options::Options;
use super::piece::Piece;

/// A table of the tracks that were written to a file, and what they took.
pub fn report(piece: &Piece, score: &Score, path: &Path, engine: &dyn Engine, options: &Options) {
    let song = &piece.song;
    let genres = &engine.manifest().vocabulary.genres;
    let genre = genres
        .get(usize::from(song.genre))
        .map_or("", String::as_str);
    let key = song
        .key
        .map(|(scale, _)| format!(", {scale}"))
        .unwrap_or_default();
    let chords = song.chords.as_ref();
    let chords = chords.map(|(progression, _)| format!(", {progression}"));
    let chords = chords.unwrap_or_default();
    say(format_args!(
        "{}: {genre}, seed {}{key}{chords}",
        path.display(),
        song.seed
    ));
    say(format_args!(
        "  {:>7}  {:<26} {:>6} {:>6}",
        "channel", "instrument", "notes", "bars"
    ));
    let starts: Vec<_> = score.bars().map(|bar| bar.start).collect();
    for (track, channel) in std::iter::zip(&score.tracks, midi::channels(&score.tracks)) {
        let bar = |at| starts.partition_point(|start| *start <= at);
        let bars: BTreeSet<usize> = track.notes.iter().map(|note| bar(note.start)).collect();
        let (channel, name) = (channel + 1, track.instrument.name());
        say(format_args!(
            "  {channel:>7}  {name:<26} {:>6} {:>6}",
            track.notes.len(),
            bars.len()
        ));
    }
    let seconds = piece.took.as_secs_f64().max(1e-9);
    let (notes, written) = (score.note_count(), piece.new_part().note_count());
    let new = match written == notes {
        true => String::new(),
        false => format!(" ({written} of them new)"),
    };
    let tokens = piece.tokens;
    say(format_args!(
        "  {} bars, {notes} notes{new}, {tokens} tokens in {seconds:.2} s: {:.0} tokens/s, {:.0} notes/s, \
         first bar after {:.0} ms ({}, {} threads)",
        starts.len(),
        tokens as f64 / seconds,
        written as f64 / seconds,
        piece.first_bar.as_secs_f64() * 1e3,
        engine.name(),
        options.threads,
    ));
}

/// How good the best of several tries is.
pub fn tried(attempts: u32, verdict: Verdict, options: &Options) {
    let Verdict { filled, own } = verdict;
    say(format_args!(
        "  try {attempts} of {}: score {:.2} (bars with music {filled:.2}, notes of its own {own:.2})",
        options.retries.saturating_add(1),
        verdict.score(),
    ));
}

/// The tokens that say a score, a line for each sequence: what `--continue-tokens` reads.
pub fn tokens(score: &Score, genre: u16, encoding: &dyn Encoding) -> String {
    let (score, _) = quantize(score, encoding.quantize_settings());
    let bodies = encoding.encode(&score);
    let lines = bodies.iter().filter_map(|body| {
        let conditioning = Conditioning {
            genre,
            instruments: Some(encoding.instruments(body, &body.tokens)),
            ..Conditioning::default()
        };
        let stream = encoding.segment(&conditioning, &body.tokens, *body.states.first()?, 0)?;
        let tokens = encoding.merge(&stream);
        let words: Vec<String> = tokens.iter().map(ToString::to_string).collect();
        Some(words.join(" "))
    });
    lines.collect::<Vec<_>>().join("\n")
}
