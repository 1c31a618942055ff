//! Sets: one request in all keys, in all genres, in folders by kind; and the names of files.

use std::path::PathBuf;

use famam_plugin::harmony::AskedKey;
use famam_shared::encoding::controls;
use famam_shared::manifest::Manifest;

use super::options::Options;

/// A place in a set: what is asked there in place of what the options say.
#[derive(Clone, Debug, Default)]
pub struct Place {
    pub genre: Option<String>,
    pub key: Option<AskedKey>,
    /// Its folder, in that of the options.
    folder: PathBuf,
}

impl Place {
    /// All places that the options ask for: one, where they ask for no set.
    pub fn all(options: &Options, manifest: &Manifest) -> Vec<Place> {
        let mut places = vec![Place::default()];
        if options.all_genres {
            let genres = manifest.vocabulary.genres.iter().skip(1);
            let place = |genre: &String| Place {
                genre: Some(genre.clone()),
                key: None,
                folder: ["genre", &name(genre)].iter().collect(),
            };
            places = genres.map(place).collect();
        }
        if options.all_keys {
            let keys = (0..controls::KEYS as u16).map(controls::tonality);
            let keys: Vec<AskedKey> = keys.map(AskedKey::from).collect();
            let in_keys = |place: Place| {
                let place = move |key: &AskedKey| Place {
                    key: Some(*key),
                    folder: place.folder.join("key").join(key.scale.to_string()),
                    genre: place.genre.clone(),
                };
                keys.iter().map(place).collect::<Vec<_>>()
            };
            places = places.into_iter().flat_map(in_keys).collect();
        }
        places
    }

    /// The file for `seed`.
    pub fn path(&self, options: &Options, seed: u64) -> PathBuf {
        match &options.output {
            Some(path) if options.count <= 1 => path.clone(),
            Some(path) => {
                let stem = path.file_stem().unwrap_or_default().to_string_lossy();
                path.with_file_name(format!("{stem}-{seed}.mid"))
            }
            None => self
                .folder(options)
                .join(format!("{}-{seed}.mid", options.prefix)),
        }
    }

    /// The folder of files that have no other.
    pub fn folder(&self, options: &Options) -> PathBuf {
        options.output_dir.join(&self.folder)
    }
}

/// A genre as the name of a folder.
fn name(genre: &str) -> String {
    let name: String = genre
        .chars()
        .map(|c| match c {
            '/' | '\\' | ':' | '<' | '>' | '"' | '|' | '?' | '*' => '-',
            c if c.is_control() => '-',
            c => c,
        })
        .collect();
    match name.trim_matches('.') {
        "" => "-".to_owned(),
        _ => name,
    }
}
