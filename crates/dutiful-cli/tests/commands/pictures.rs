//! The example of a folder of pictures, run as its README says.

use std::path::Path;
use std::process::Command;

use crate::place::{DUTIFUL, Place};

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/pictures");

/// Returns a copy of the example.
fn example() -> Place {
    let place = Place::new();
    let mut copied = Command::new("cp");
    copied.args(["-R", &format!("{EXAMPLE}/.")]).arg(place.path("."));
    assert!(copied.status().unwrap().success());
    for left_over in ["thumbnails", "pictures.db", "pictures.db-wal", "pictures.db-shm"] {
        let path = place.path(left_over);
        if path.is_dir() {
            std::fs::remove_dir_all(path).unwrap();
        } else if path.exists() {
            std::fs::remove_file(path).unwrap();
        }
    }
    place
}

/// Runs `./enqueue.sh pictures` with our binary in its path.
fn enqueue(place: &Place) -> String {
    let bin = Path::new(DUTIFUL).parent().unwrap().display();
    let path = std::env::var("PATH").unwrap();
    let output = Command::new("./enqueue.sh")
        .arg("pictures")
        .current_dir(place.path("."))
        .env("PATH", format!("{bin}:{path}"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Returns width, height and the largest value of a plain PPM picture.
fn size(picture: &str) -> Vec<u32> {
    let mut words = picture.split_whitespace();
    assert_eq!(words.next(), Some("P3"));
    let head: Vec<_> = words.by_ref().take(3).map(|word| word.parse().unwrap()).collect();
    let values: Vec<u32> = words.map(|word| word.parse().unwrap()).collect();
    assert_eq!(values.len() as u32, 3 * head[0] * head[1]);
    assert!(values.iter().all(|value| *value <= head[2]));
    head
}

#[test]
fn makes_a_thumbnail_of_each_picture() {
    let place = example();
    let odd = "pictures/$(touch pwned) \"quoted\" back\\slash = 100%.ppm";
    std::fs::copy(place.path("pictures/dawn.ppm"), place.path(odd)).unwrap();
    place.write("pictures/broken.ppm", "P3 4 4 255 1 2 3");
    assert!(enqueue(&place).starts_with("5 jobs: 5 new"));
    let report = place.work();
    assert_eq!(report["completed"], 4, "{report}");
    assert_eq!(size(&place.read("thumbnails/pictures_dawn.ppm").unwrap()), [14, 10, 255]);
    assert_eq!(size(&place.read("thumbnails/pictures_sea_sun.ppm").unwrap()), [16, 11, 255]);
    assert_eq!(size(&place.read("thumbnails/pictures_sea_ripples.ppm").unwrap()), [10, 14, 255]);
    let thumbnail = place.read(&format!("thumbnails/{}", odd.replace('/', "_"))).unwrap();
    assert_eq!(size(&thumbnail), [14, 10, 255]);
    assert!(!place.path("pwned").exists());
    let dead = place.json(&["dead", "list"]);
    let error = &dead["jobs"][0]["last_error"];
    assert_eq!(error["class"], "exit 65");
    assert!(error["message"].as_str().unwrap().contains("cut off"), "{error}");
    let left: Vec<_> = std::fs::read_dir(place.path("thumbnails")).unwrap().collect();
    assert_eq!(left.len(), 4, "no draft is left: {left:?}");
    let done = place.json(&["jobs", "list", "--state", "completed", "--limit", "1"]);
    let job = place.show(done["jobs"][0]["id"].as_str().unwrap());
    assert!(job["result"]["thumbnail"].as_str().unwrap().starts_with("thumbnails/"), "{job}");
}

#[test]
fn a_second_run_makes_the_same_thumbnails() {
    let place = example();
    enqueue(&place);
    place.work();
    let first = place.read("thumbnails/pictures_dawn.ppm").unwrap();
    enqueue(&place);
    assert_eq!(place.work()["completed"], 3);
    assert_eq!(place.read("thumbnails/pictures_dawn.ppm").unwrap(), first);
}
