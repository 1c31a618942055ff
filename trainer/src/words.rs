//! Lists in words, as summaries print them.

/// Items in words, on lines of some 80 letters under the first.
pub fn listed<T>(items: &[T], words: impl Fn(&T) -> String) -> String {
    let mut lines = String::new();
    let mut width = 0;
    for (i, item) in items.iter().enumerate() {
        let word = words(item);
        if i > 0 {
            lines.push(',');
            let wrap = width + word.len() > 66;
            lines.push_str(if wrap { "\n            " } else { " " });
            width = if wrap { 0 } else { width };
        }
        width += word.len() + 2;
        lines.push_str(&word);
    }
    lines
}
