//! Paints the bundled pictures, so that everybody can see where they come from.
//!
//! `DUTIFUL_PAINT=1 cargo test -p dutiful-cli paint` writes them anew to `assets/pictures`.

use std::path::Path;

use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{Rgb, RgbImage};

use super::pictures::BUNDLED;

const WIDTH: u32 = 640;
const HEIGHT: u32 = 480;
/// Largest file that may be bundled.
const FILE_BYTES_MAX: usize = 14 * 1024;

type Color = [f64; 3];

/// A view over ridges under a low sun (or moon).
struct View {
    sky: [Color; 2],
    far: Color,
    near: Color,
    sun: Color,
    /// Centre and radius, as parts of the width and the height.
    at: [f64; 3],
    ridges: u32,
    rough: f64,
    stars: u32,
}

const MORNING: View = View {
    sky: [[118.0, 170.0, 214.0], [252.0, 226.0, 196.0]],
    far: [168.0, 188.0, 205.0],
    near: [24.0, 62.0, 58.0],
    sun: [255.0, 244.0, 214.0],
    at: [0.30, 0.42, 0.050],
    ridges: 6,
    rough: 1.0,
    stars: 0,
};
const EVENING: View = View {
    sky: [[54.0, 40.0, 92.0], [250.0, 146.0, 92.0]],
    far: [178.0, 92.0, 108.0],
    near: [32.0, 18.0, 44.0],
    sun: [255.0, 214.0, 130.0],
    at: [0.66, 0.50, 0.075],
    ridges: 5,
    rough: 0.8,
    stars: 0,
};
const NIGHT: View = View {
    sky: [[8.0, 12.0, 34.0], [44.0, 62.0, 104.0]],
    far: [40.0, 54.0, 88.0],
    near: [6.0, 10.0, 20.0],
    sun: [236.0, 238.0, 224.0],
    at: [0.74, 0.22, 0.040],
    ridges: 4,
    rough: 1.4,
    stars: 70,
};
const DESERT: View = View {
    sky: [[92.0, 164.0, 190.0], [246.0, 222.0, 178.0]],
    far: [226.0, 178.0, 128.0],
    near: [142.0, 68.0, 40.0],
    sun: [255.0, 250.0, 228.0],
    at: [0.20, 0.24, 0.045],
    ridges: 5,
    rough: 0.35,
    stars: 0,
};

fn paint(name: &str) -> RgbImage {
    match name {
        "morning.jpg" => landscape(&MORNING, 1.0),
        "evening.jpg" => landscape(&EVENING, 2.0),
        "night.jpg" => landscape(&NIGHT, 3.0),
        "desert.jpg" => landscape(&DESERT, 4.0),
        "circles.png" => circles(),
        "tiles.png" => tiles(),
        _ => panic!("nobody painted {name}"),
    }
}

fn landscape(view: &View, seed: f64) -> RgbImage {
    let (width, height) = (f64::from(WIDTH), f64::from(HEIGHT));
    let mut picture = RgbImage::from_fn(WIDTH, HEIGHT, |x, y| {
        let (x, y) = (f64::from(x) / width, f64::from(y) / height);
        let sky = mix(view.sky[0], view.sky[1], (y / 0.7).min(1.0));
        let away = ((x - view.at[0]) * width / height).hypot(y - view.at[1]);
        let glow = (-away * 4.0).exp() * 0.6;
        let disc = smooth((view.at[2] - away) * height / 1.5);
        let mut color = mix(sky, view.sun, glow.max(disc));
        for ridge in 0..view.ridges {
            let depth = f64::from(ridge + 1) / f64::from(view.ridges);
            let top = crest(x, depth, view.rough, seed + f64::from(ridge) * 7.3);
            let body = mix(view.far, view.near, depth);
            // Haze gathers at the foot of each ridge and makes the next one stand out.
            let haze = mix(body, view.far, ((y - top) * 1.6).clamp(0.0, 0.35));
            color = mix(color, haze, smooth((y - top) * height / 1.5));
        }
        Rgb(color.map(|c| c.round() as u8))
    });
    for star in 0..view.stars {
        let (x, y) = (hash(f64::from(star) + 0.1), hash(f64::from(star) + 0.7) * 0.45);
        let light = 150.0 + 100.0 * hash(f64::from(star) + 0.3);
        picture.put_pixel((x * width) as u32, (y * height) as u32, Rgb([light as u8; 3]));
    }
    picture
}

/// Returns the height (0 top, 1 bottom) of a ridge at `x`: waves over waves, nearer ones lower.
fn crest(x: f64, depth: f64, rough: f64, seed: f64) -> f64 {
    let wave = |octave: i32| {
        let pitch = 2.0_f64.powi(octave);
        (x * pitch * 4.1 + seed * pitch * 1.7).sin() / pitch
    };
    let waves: f64 = (0..6).map(wave).sum();
    0.42 + depth * 0.46 + waves * 0.07 * rough * (1.15 - depth * 0.5)
}

fn circles() -> RgbImage {
    let colors = [[236, 72, 58], [248, 184, 52], [32, 92, 148], [24, 34, 52], [84, 160, 136]];
    RgbImage::from_fn(WIDTH, HEIGHT, |x, y| {
        let (column, row) = (x / 160, y / 160);
        let away = f64::from(x % 160).hypot(f64::from(y % 160));
        let ring = (away / 32.0) as usize;
        let kind = (column * 3 + row * 2) as usize;
        if ring < 5 { Rgb(colors[(kind + ring) % 5]) } else { Rgb([246, 238, 222]) }
    })
}

fn tiles() -> RgbImage {
    let colors = [[28, 60, 84], [222, 232, 230], [206, 98, 70], [240, 204, 128]];
    RgbImage::from_fn(WIDTH, HEIGHT, |x, y| {
        let (column, row, x, y) = (x / 80, y / 80, x % 80, y % 80);
        let turned = (column + row) % 2 == 1;
        let upper = if turned { x + y < 80 } else { x > y };
        let small = x.abs_diff(40) + y.abs_diff(40) < 16;
        let kind = if small { column * 2 + row } else { column + row * 3 + u32::from(upper) };
        Rgb(colors[(kind % 4) as usize])
    })
}

fn mix(from: Color, to: Color, part: f64) -> Color {
    std::array::from_fn(|i| from[i] + (to[i] - from[i]) * part)
}

fn smooth(edge: f64) -> f64 {
    (edge + 0.5).clamp(0.0, 1.0)
}

fn hash(n: f64) -> f64 {
    ((n * 127.1).sin() * 43_758.545).rem_euclid(1.0)
}

#[test]
fn paints_the_bundled_pictures() {
    let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/pictures");
    for (name, bundled) in BUNDLED {
        let painted = paint(name);
        if std::env::var_os("DUTIFUL_PAINT").is_some() {
            let mut bytes = std::io::Cursor::new(Vec::new());
            if name.ends_with(".png") {
                let best = PngEncoder::new_with_quality(
                    &mut bytes,
                    CompressionType::Best,
                    FilterType::NoFilter,
                );
                painted.write_with_encoder(best).unwrap();
            } else {
                let encoder = JpegEncoder::new_with_quality(&mut bytes, 50);
                painted.write_with_encoder(encoder).unwrap();
            }
            std::fs::write(assets.join(name), bytes.into_inner()).unwrap();
            continue;
        }
        assert!(bundled.len() <= FILE_BYTES_MAX, "{name} has {} bytes", bundled.len());
        let kept = image::load_from_memory(bundled).unwrap().to_rgb8();
        assert_eq!(kept.dimensions(), (WIDTH, HEIGHT), "{name}");
        let pairs = kept.as_raw().iter().zip(painted.as_raw());
        let off: u64 = pairs.map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
        let mean = off as f64 / kept.as_raw().len() as f64;
        assert!(mean < 6.0, "{name} differs from its painting by {mean:.1} per sample");
    }
}
