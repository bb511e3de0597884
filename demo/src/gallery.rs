//! What the demo fills its table with.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use walkdir::{DirEntry, WalkDir};

use crate::emoji;

/// The largest file that is read. The server's own limit, `visual_search.max_image_bytes`, is meant to
/// decide; this one keeps a stray video from filling the demo's memory.
const MAX_FILE_BYTES: u64 = 256 << 20;

/// A picture with its title and label.
pub struct Picture {
    /// What the reader knows it by: an emoji's name, a file's name.
    pub title: String,
    /// What it is filed under: an emoji's group, a file's folder below the gallery's; may be empty.
    pub label: String,
    content: Content,
}

enum Content {
    Bytes(Vec<u8>),
    File(PathBuf),
    /// Something in a folder that cannot even be looked at, such as a link to nowhere, and why.
    Unreadable(PathBuf, String),
}

impl Picture {
    /// A file of a folder, which says title and label by its place there, and what is wrong with it if
    /// that is already known.
    fn in_folder(folder: &Path, path: PathBuf, problem: Option<String>) -> Result<Self> {
        let relative = path.strip_prefix(folder).context("a walk leads below its start")?;
        let lossy = |part: Option<&OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
        let (title, label) = (lossy(path.file_stem()), lossy(relative.parent().map(Path::as_os_str)));
        let content = match problem {
            None => Content::File(path),
            Some(problem) => Content::Unreadable(path, problem),
        };
        Ok(Self { title, label, content })
    }

    /// The picture's bytes, as they are in its file.
    ///
    /// # Errors
    /// The file cannot be read, or is far larger than a picture.
    pub fn bytes(&self) -> Result<Vec<u8>> {
        match &self.content {
            Content::Bytes(bytes) => Ok(bytes.clone()),
            Content::File(path) => {
                let size = fs::metadata(path)?.len();
                ensure!(size <= MAX_FILE_BYTES, "the file has {} MB", size >> 20);
                Ok(fs::read(path)?)
            }
            Content::Unreadable(_, reason) => bail!("{reason}"),
        }
    }

    /// Where it comes from, to name it in a report.
    pub fn origin(&self) -> String {
        match &self.content {
            Content::Bytes(_) => self.title.clone(),
            Content::File(path) | Content::Unreadable(path, _) => path.display().to_string(),
        }
    }
}

/// Pictures in a fixed order.
pub struct Gallery {
    /// What the gallery is, for a headline.
    pub description: String,
    /// The pictures.
    pub pictures: Vec<Picture>,
    /// Titles of pictures that are good to search for; where there is none, the demo chooses.
    pub suggestions: Vec<&'static str>,
    /// Words that are good to search for.
    pub words: Vec<String>,
}

impl Gallery {
    /// The pictures of the system's emoji font.
    ///
    /// # Errors
    /// As for [`emoji::pictures`].
    pub fn from_emoji() -> Result<Self> {
        let pictures: Vec<_> = emoji::pictures()?
            .into_iter()
            .map(|emoji| Picture { title: emoji.name, label: emoji.group, content: Content::Bytes(emoji.png) })
            .collect();
        Ok(Self {
            description: format!("{} emoji of the system's font", pictures.len()),
            pictures,
            suggestions: vec!["red apple", "automobile", "full moon", "flag: Norway"],
            words: ["a blue heart", "a red car", "fruit"].map(String::from).into(),
        })
    }

    /// The files in a folder and its sub-folders, except hidden ones. What is not a picture is found out
    /// when it is embedded.
    ///
    /// # Errors
    /// There is no such folder, or not one file in it.
    pub fn from_folder(folder: &Path) -> Result<Self> {
        ensure!(folder.is_dir(), "{} is not a folder", folder.display());
        let mut pictures = Vec::new();
        for entry in WalkDir::new(folder).follow_links(true).sort_by_file_name().into_iter().filter_entry(visible) {
            let (path, problem) = match entry {
                Ok(entry) if entry.file_type().is_file() => (entry.into_path(), None),
                Ok(_) => continue,
                Err(error) => {
                    let problem = error.io_error().map_or_else(|| error.to_string(), ToString::to_string);
                    (error.path().unwrap_or(folder).to_owned(), Some(problem))
                }
            };
            pictures.push(Picture::in_folder(folder, path, problem)?);
        }
        if pictures.is_empty() {
            bail!("there is no file in {}", folder.display());
        }
        let mut words: Vec<String> = pictures.iter().filter_map(|picture| last_component(&picture.label)).collect();
        words.sort();
        words.dedup();
        words.truncate(3);
        let description = format!("{} files in {}", pictures.len(), folder.display());
        Ok(Self { description, pictures, suggestions: Vec::new(), words })
    }
}

fn visible(entry: &DirEntry) -> bool {
    entry.depth() == 0 || !entry.file_name().as_encoded_bytes().starts_with(b".")
}

/// `train/t-shirt` → `t-shirt`.
fn last_component(label: &str) -> Option<String> {
    label.rsplit('/').next().filter(|part| !part.is_empty()).map(String::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, file).unwrap();
        }
        folder
    }

    #[test]
    fn folders_become_labels_and_hidden_files_are_left_out() {
        let folder = folder(&["b.jpg", "hats/red/a.PNG", "hats/.cache/x.png", ".hidden", "hats/z.tar.gz"]);
        let gallery = Gallery::from_folder(folder.path()).unwrap();
        let found: Vec<_> = gallery
            .pictures
            .iter()
            .map(|picture| (picture.label.as_str(), picture.title.as_str(), picture.bytes().unwrap()))
            .collect();
        let expected = [("", "b", "b.jpg"), ("hats/red", "a", "hats/red/a.PNG"), ("hats", "z.tar", "hats/z.tar.gz")];
        assert_eq!(found, expected.map(|(label, title, bytes)| (label, title, bytes.as_bytes().to_vec())));
        assert_eq!(gallery.words, ["hats", "red"]);
    }

    #[test]
    fn a_folder_without_files_is_refused() {
        assert!(Gallery::from_folder(folder(&[]).path()).is_err());
        assert!(Gallery::from_folder(Path::new("/nonexistent")).is_err());
    }

    #[test]
    fn a_file_that_goes_away_is_an_error_of_its_own() {
        let folder = folder(&["a.png"]);
        let gallery = Gallery::from_folder(folder.path()).unwrap();
        fs::remove_file(folder.path().join("a.png")).unwrap();
        assert!(gallery.pictures[0].bytes().is_err());
        assert!(gallery.pictures[0].origin().ends_with("a.png"));
    }

    #[test]
    fn what_cannot_be_looked_at_is_kept_for_the_report() {
        let folder = folder(&["a.png"]);
        std::os::unix::fs::symlink("/nonexistent/x", folder.path().join("b.png")).unwrap();
        std::os::unix::fs::symlink(folder.path(), folder.path().join("circle")).unwrap();
        let gallery = Gallery::from_folder(folder.path()).unwrap();
        let found: Vec<_> =
            gallery.pictures.iter().map(|picture| (picture.title.as_str(), picture.bytes().is_ok())).collect();
        assert_eq!(found, [("a", true), ("b", false), ("circle", false)]);
    }

    #[test]
    fn the_emoji_gallery_has_its_suggestions() {
        let gallery = Gallery::from_emoji().unwrap();
        for title in &gallery.suggestions {
            assert_eq!(gallery.pictures.iter().filter(|picture| picture.title == *title).count(), 1, "{title}");
        }
    }
}
