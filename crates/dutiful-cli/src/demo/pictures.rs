//! The pictures of the shop: a bundled handful or a directory, and how one is made small.

use std::fs::File;
use std::io::{BufWriter, ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use dutiful::HandlerError;
use image::codecs::jpeg::JpegEncoder;
use image::imageops::FilterType;
use image::{ImageReader, Limits};

use super::home::Home;
use crate::failure::Failure;

/// Longest side of a resized picture, in pixels.
pub(crate) const SIDE_MAX: u32 = 240;
/// Most pictures that are taken from a directory.
const PICTURES_MAX: usize = 10_000;
/// Longest side of an original; a larger one would be an attack on the memory.
const ORIGINAL_SIDE_MAX: u32 = 20_000;
/// Most bytes that decoding one picture may take.
const DECODE_BYTES_MAX: u64 = 512 * 1024 * 1024;
const JPEG_QUALITY: u8 = 82;

/// The bundled pictures, as `paint.rs` painted them.
pub(crate) const BUNDLED: [(&str, &[u8]); 6] = [
    ("morning.jpg", include_bytes!("../../assets/pictures/morning.jpg")),
    ("evening.jpg", include_bytes!("../../assets/pictures/evening.jpg")),
    ("night.jpg", include_bytes!("../../assets/pictures/night.jpg")),
    ("desert.jpg", include_bytes!("../../assets/pictures/desert.jpg")),
    ("circles.png", include_bytes!("../../assets/pictures/circles.png")),
    ("tiles.png", include_bytes!("../../assets/pictures/tiles.png")),
];

/// Writes the bundled pictures to files and returns where they are.
pub(crate) fn unpack(home: &Home) -> Result<Vec<PathBuf>, Failure> {
    let unpack = |(name, bytes): (&str, &[u8])| {
        let path = home.originals().join(name);
        std::fs::write(&path, bytes).map(|()| path)
    };
    BUNDLED
        .into_iter()
        .map(unpack)
        .collect::<Result<_, _>>()
        .map_err(|error| Failure::failed(format!("unpack the bundled pictures: {error}")))
}

/// Returns the pictures in a directory, by name.
pub(crate) fn in_directory(dir: &Path) -> Result<Vec<PathBuf>, Failure> {
    let failed = |why: String| {
        Failure::failed(format!("take the pictures of --images {}: {why}", dir.display()))
    };
    let dir = dir.canonicalize().map_err(|error| failed(error.to_string()))?;
    let mut pictures = Vec::new();
    for entry in dir.read_dir().map_err(|error| failed(error.to_string()))? {
        let path = entry.map_err(|error| failed(error.to_string()))?.path();
        let ending = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
        let known = ["png", "jpg", "jpeg"].iter().any(|e| ending.eq_ignore_ascii_case(e));
        if known && path.to_str().is_some() {
            pictures.push(path);
        }
        if pictures.len() > PICTURES_MAX {
            return Err(failed(format!("there are more than {PICTURES_MAX}; name a smaller one")));
        }
    }
    if pictures.is_empty() {
        return Err(failed("no file in it ends in .png, .jpg or .jpeg".into()));
    }
    pictures.sort();
    Ok(pictures)
}

/// Decodes the original, scales it, and puts the JPEG under its name only when it is complete.
///
/// A picture that cannot be read will not be readable in a second either: the job is given up.
pub(crate) fn shrink(original: &Path, part: &Path, target: &Path) -> dutiful::Result<()> {
    let name = original.file_name().unwrap_or_default().to_string_lossy();
    let unreadable = |why: String| {
        let text = format!("the picture {name} cannot be read: {why}");
        HandlerError::discard(HandlerError::msg(text).with_class("unreadable_picture"))
    };
    let mut reader = ImageReader::open(original)
        .and_then(ImageReader::with_guessed_format)
        .map_err(|error| match error.kind() {
            ErrorKind::NotFound | ErrorKind::PermissionDenied | ErrorKind::IsADirectory => {
                unreadable(error.to_string())
            }
            _ => error.into(),
        })?;
    let mut limits = Limits::default();
    limits.max_image_width = Some(ORIGINAL_SIDE_MAX);
    limits.max_image_height = Some(ORIGINAL_SIDE_MAX);
    limits.max_alloc = Some(DECODE_BYTES_MAX);
    reader.limits(limits);
    let picture = reader.decode().map_err(|error| unreadable(error.to_string()))?;
    let small = picture.resize(SIDE_MAX, SIDE_MAX, FilterType::Lanczos3).to_rgb8();
    let mut file = BufWriter::new(File::create(part)?);
    JpegEncoder::new_with_quality(&mut file, JPEG_QUALITY).encode_image(&small)?;
    file.flush()?;
    std::fs::rename(part, target)?;
    Ok(())
}

/// True when this file is a picture of the promised size.
pub(crate) fn is_small_picture(path: &Path) -> bool {
    let size = ImageReader::open(path)
        .and_then(ImageReader::with_guessed_format)
        .ok()
        .and_then(|reader| reader.into_dimensions().ok());
    size.is_some_and(|(width, height)| width.max(height) == SIDE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shrinks_every_bundled_picture_to_the_promised_size() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::make(Some(&dir.path().join("home"))).unwrap();
        for original in unpack(&home).unwrap() {
            let (part, target) = (home.parts().join("part"), home.pictures().join("small.jpg"));
            shrink(&original, &part, &target).unwrap();
            assert!(is_small_picture(&target) && !part.exists(), "{}", original.display());
        }
    }

    #[test]
    fn gives_up_a_picture_that_cannot_be_read() {
        let dir = tempfile::tempdir().unwrap();
        let (part, target) = (dir.path().join("part"), dir.path().join("small.jpg"));
        for (name, bytes) in [("torn.png", &BUNDLED[4].1[..99]), ("text.jpg", b"no picture")] {
            let original = dir.path().join(name);
            std::fs::write(&original, bytes).unwrap();
            let error = shrink(&original, &part, &target).unwrap_err();
            assert_eq!(error.failure().class, "unreadable_picture");
            assert!(!target.exists());
        }
    }
}
