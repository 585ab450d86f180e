//! Bytes nobody would send: files of the corpus, cut, spliced and overwritten.
//!
//! Invariant: the same seed makes the same bytes.

use std::path::Path;

use fastrand::Rng;

/// Cases of one parser; a second or two in all.
const CASES: u64 = 20_000;
/// The longest input: as much as a body may have.
const BYTES_MAX: usize = 4096;
/// What parsers look out for.
const WORDS: [&[u8]; 20] = [
    b"\"",
    b"\\",
    b"\\ud800",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"-",
    b"1e999",
    b"0",
    b"|",
    b";",
    b"9223372036854775808",
    b"null",
    b"\xff",
    // As long as anything that is cut off may be.
    "éééééééééééééééééééééééééééééééé".as_bytes(),
    "😀".as_bytes(),
    b"\0",
];

/// Name and bytes of each file.
pub(crate) type Corpus = Vec<(String, Vec<u8>)>;

/// The files of one parser.
pub(crate) fn corpus(folder: &str) -> Corpus {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(folder);
    let entries = std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap());
    let mut files: Corpus = entries
        .map(|e| (e.file_name().into_string().unwrap(), std::fs::read(e.path()).unwrap()))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty", path.display());
    files
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

/// Where a run begins.
pub(crate) fn first_seed() -> u64 {
    setting("FUZZ_SEED").unwrap_or_else(|| fastrand::u64(..u64::MAX / 2))
}

/// How long it is.
pub(crate) fn cases() -> u64 {
    setting("FUZZ_CASES").unwrap_or(CASES)
}

/// The bytes of one seed.
pub(crate) fn bytes(corpus: &Corpus, seed: u64) -> Vec<u8> {
    let mut dice = Rng::with_seed(seed);
    if dice.u8(..16) == 0 {
        return (0..dice.usize(..64)).map(|_| dice.u8(..)).collect();
    }
    let pick = |dice: &mut Rng| corpus[dice.usize(..corpus.len())].1.clone();
    let mut bytes = pick(&mut dice);
    for _ in 0..dice.usize(1..5) {
        let other = pick(&mut dice);
        change(&mut bytes, &other, &mut dice);
    }
    bytes.truncate(BYTES_MAX);
    bytes
}

/// One change somewhere.
fn change(bytes: &mut Vec<u8>, other: &[u8], dice: &mut Rng) {
    let at = dice.usize(..=bytes.len());
    let end = dice.usize(at..=bytes.len()).min(at + 24);
    match dice.u8(..7) {
        0 => bytes.truncate(at),
        1 => drop(bytes.drain(at..end)),
        2 => drop(bytes.splice(at..end, other.iter().copied().skip(at).take(24))),
        3 => drop(bytes.splice(at..at, WORDS[dice.usize(..WORDS.len())].iter().copied())),
        4 if at < bytes.len() => bytes[at] = dice.u8(..),
        5 if at < bytes.len() => bytes[at] = dice.u8(b'0'..=b'9'),
        // Depth, and a length that doubles.
        _ => {
            let many = bytes[at..end].repeat(dice.usize(1..40));
            bytes.splice(at..at, many);
        }
    }
}
