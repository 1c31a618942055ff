//! Figures of time: where notes begin and how long they are.

use famam_shared::score::Note;

use super::excerpt::{Excerpt, POSITIONS, mean, position, shares};

/// The note values of Yang and Lerch's histograms, in positions of the grid: whole, half, quarter, 8th,
/// 16th; half, quarter, 8th and 16th with a dot; triplets of halves, quarters and 8ths.
pub(super) const LENGTHS: [f64; 12] = [
    48.0, 24.0, 12.0, 6.0, 3.0, 36.0, 18.0, 9.0, 4.5, 16.0, 8.0, 4.0,
];

/// How alike the rhythms of neighbouring bars are: 1 less the mean share of grid positions at which a note
/// begins in one of two neighbours and none in the other (Dong et al., "MusPy", 2020, *groove
/// consistency*; Wu and Yang, "The Jazz Transformer", 2020, *grooving pattern similarity*, between all bars). Of
/// bars that have the same metre.
pub fn groove_consistency(excerpt: &Excerpt) -> Option<f64> {
    let onsets = excerpt.by_bar(|_, _, at| at);
    let pairs = std::iter::zip(excerpt.bars(), &onsets).collect::<Vec<_>>();
    mean(pairs.windows(2).filter_map(|pair| {
        let [(a, ours), (b, theirs)] = pair else {
            return None;
        };
        let positions = position(a.end - a.start);
        let both = ours.iter().filter(|at| theirs.contains(at)).count();
        let differing = ours.len() + theirs.len() - 2 * both;
        let same_metre = a.end - a.start == b.end - b.start;
        same_metre.then(|| 1.0 - differing as f64 / f64::from(positions.max(1)))
    }))
}

/// Share of the bars in which no note begins (MusPy 2020, *empty measure rate*).
pub fn empty_bars(excerpt: &Excerpt) -> Option<f64> {
    let onsets = excerpt.by_bar(|_, _, at| at);
    mean(onsets.iter().map(|bar| f64::from(bar.is_empty())))
}

/// Notes in a bar, drums with them (Yang and Lerch 2018, section 3.1, *note count*, by bar).
pub fn notes_a_bar(excerpt: &Excerpt) -> Option<f64> {
    Some(excerpt.score().note_count() as f64 / excerpt.bars().len().max(1) as f64)
}

/// Mean length of the pitched notes, in quarters; a drum's length is not heard.
pub fn note_length(excerpt: &Excerpt) -> Option<f64> {
    mean(excerpt.pitched_notes().map(|note| note.duration.quarters()))
}

/// Mean time between successive starts of notes, of whatever track, in quarters (Yang and Lerch 2018,
/// *average inter-onset interval*).
pub fn inter_onset_interval(excerpt: &Excerpt) -> Option<f64> {
    let mut onsets: Vec<u32> = excerpt.notes().map(|note| position(note.start)).collect();
    onsets.sort_unstable();
    onsets.dedup();
    let intervals = onsets.windows(2).map(|pair| f64::from(pair[1] - pair[0]));
    mean(intervals).map(|mean| mean / f64::from(POSITIONS))
}

/// Index of the note value nearest to so many positions.
fn value(positions: f64) -> usize {
    let nearest = (0..LENGTHS.len()).min_by(|&a, &b| {
        let from = |i: usize| (LENGTHS[i] - positions).abs();
        from(a).total_cmp(&from(b))
    });
    nearest.unwrap_or(0)
}

/// Index of a note's value.
pub(super) fn length(note: &Note) -> usize {
    value(note.duration.quarters() * f64::from(POSITIONS))
}

/// Share of the pitched notes by note value, `[12]` (Yang and Lerch 2018, *note length histogram*).
pub fn length_histogram(excerpt: &Excerpt) -> Option<Vec<f64>> {
    let mut counts = vec![0.0; LENGTHS.len()];
    for note in excerpt.pitched_notes() {
        counts[length(note)] += 1.0;
    }
    shares(counts)
}

/// How often each note value follows each other in a pitched track, over all such pairs, `[12 * 12]`, the
/// earlier note's first (Yang and Lerch 2018, *note length transition matrix*).
pub fn length_transitions(excerpt: &Excerpt) -> Option<Vec<f64>> {
    let mut counts = vec![0.0; LENGTHS.len() * LENGTHS.len()];
    for pair in excerpt.pitched().flat_map(|track| track.notes.windows(2)) {
        counts[LENGTHS.len() * length(&pair[0]) + length(&pair[1])] += 1.0;
    }
    shares(counts)
}
