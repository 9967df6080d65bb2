use std::fs;
use std::os::unix::fs::symlink;

use super::*;

fn journal() -> Journal {
    Journal {
        version: VERSION,
        name: "wg0".into(),
        file: "/etc/wireguard/wg0.conf".into(),
        namespace: (4, 5),
        complete: false,
        save: false,
        shared: false,
        pre_down: vec!["echo %i".into()],
        post_down: Vec::new(),
        steps: vec![
            Step::Device,
            Step::SrcValidMark { before: 0 },
            Step::MarkRule {
                v6: true,
                table: 51820,
                pref: 32765,
            },
        ],
    }
}

fn name() -> InterfaceName {
    "wg0".parse().unwrap()
}

#[test]
fn a_journal_comes_back_as_it_was_written() {
    let directory = tempfile::tempdir().unwrap();
    let place = Place::in_directory(directory.path(), &name());
    assert!(place.load().unwrap().is_none());
    place.store(&journal()).unwrap();
    assert_eq!(place.load().unwrap(), Some(journal()));
    assert_eq!(fs::metadata(place.path()).unwrap().mode() & 0o777, 0o600);
    place.remove().unwrap();
    place.remove().unwrap();
    assert!(place.load().unwrap().is_none());
}

#[test]
fn every_cut_and_every_foreign_word_is_refused() {
    let text = serde_json::to_vec_pretty(&journal()).unwrap();
    for len in 0..text.len() {
        assert!(parse(&text[..len], &name()).is_err(), "{len} bytes");
    }
    let text = String::from_utf8(text).unwrap();
    for (from, to, says) in [
        ("\"version\": 1", "\"version\": 2", "version 2"),
        ("\"wg0\"", "\"wg1\"", "another device"),
        ("\"device\"", "\"format-disk\"", "broken"),
        ("\"before\": 0", "\"before\": \"; reboot\"", "broken"),
        ("\"save\"", "\"extra\"", "broken"),
    ] {
        let error = parse(text.replace(from, to).as_bytes(), &name()).unwrap_err();
        assert!(error.contains(says), "{error}");
    }
    assert!(parse("[".repeat(1 << 20).as_bytes(), &name()).is_err());
}

#[test]
fn a_link_is_neither_read_nor_written_through() {
    let directory = tempfile::tempdir().unwrap();
    let place = Place::in_directory(directory.path(), &name());
    let elsewhere = directory.path().join("elsewhere");
    fs::write(&elsewhere, serde_json::to_vec(&journal()).unwrap()).unwrap();
    symlink(&elsewhere, place.path()).unwrap();
    let error = place.load().unwrap_err().to_string();
    assert!(error.contains("symbolic link"), "{error}");
    let before = fs::read(&elsewhere).unwrap();
    symlink(&elsewhere, directory.path().join("wg0.json.tmp")).unwrap();
    place
        .store(&Journal {
            complete: true,
            ..journal()
        })
        .unwrap();
    assert_eq!(fs::read(&elsewhere).unwrap(), before);
    assert!(place.load().unwrap().unwrap().complete);
}

#[test]
fn one_at_a_time_and_only_in_a_directory_of_ours() {
    let directory = tempfile::tempdir().unwrap();
    let inside = directory.path().join("run");
    let place = Place::in_directory(&inside, &name());
    let lock = place.lock().unwrap();
    drop(lock);
    drop(place.lock().unwrap());
    let link = directory.path().join("link");
    symlink(&inside, &link).unwrap();
    let error = Place::in_directory(&link, &name()).lock().unwrap_err();
    assert!(matches!(error, JournalError::Unusable { .. }), "{error}");
}
