//! What files say, also when they say nothing of sense.

use proptest::prelude::*;

use super::*;

fn name(text: &str) -> TaskName {
    TaskName::new(text).expect("a name")
}

fn of(text: &str) -> TaskHeader {
    read(&name("a.md"), text.as_bytes()).expect("it says something").unwrap_or_else(|why| panic!("{text:?}: {why}"))
}

fn why(text: impl AsRef<[u8]>) -> String {
    read(&name("a.md"), text.as_ref()).expect("it says something").expect_err("a mistake")
}

#[test]
fn all_of_it_may_be_there_or_absent() {
    assert_eq!(of("do it\n"), TaskHeader { title: "do it".to_owned(), ..TaskHeader::default() });
    let full = "---\npriority: -3\nsession: s-1\nafter: [first.md, two words]\ntimeout: 1h30m\nattempts: 2\n---\n\n# Title\nbody\n";
    let expected = TaskHeader {
        priority: Some(-3),
        session: Some(SessionName::new("s-1").expect("a name")),
        after: vec![name("first.md"), name("two words.md")],
        timeout: Some(Duration::from_mins(90)),
        attempts: Some(2),
        title: "Title".to_owned(),
    };
    assert_eq!(of(full), expected);
    assert_eq!(of(&full.replace('\n', "\r\n")), expected, "as some editors end lines");
    assert_eq!(of(&format!("\u{feff}{full}")), expected, "with a byte order mark");
    assert_eq!(of("---\n---\ndo it"), of("do it"));
    assert_eq!(of("---\n# a comment\npriority:\n---  \ndo it"), of("do it"));
    assert_eq!(of("---\nafter: b\n---\ndo it").after, [name("b.md")]);
    assert_eq!(of("----\nno front matter\n").title, "no front matter");
}

#[test]
fn the_title_is_the_first_line_that_says_something() {
    for (text, title) in [
        ("\n\n  ## Fix *it*  \nmore", "Fix *it*"),
        ("***\n\ndo it", "do it"),
        ("- first of a list", "- first of a list"),
        ("日本語で書く", "日本語で書く"),
        ("...", "..."),
        ("a\tb\u{1b}[31m\u{202e}c", "a b\\u{1b}[31m\\u{202e}c"),
    ] {
        assert_eq!(of(text).title, title);
    }
    let long = of(&"ü".repeat(100)).title;
    assert_eq!((long.chars().count(), long.ends_with('…')), (80, true));
    assert_eq!(of(&"x".repeat(80)).title, "x".repeat(80));
}

#[test]
fn what_says_nothing_is_no_task_yet() {
    for text in ["", "\n \n\t\n", "---\npriority: 1\n---\n", "---\npriority: 1\n---\n  \n", "\u{feff}"] {
        assert_eq!(read(&name("a.md"), text.as_bytes()), None, "{text:?}");
    }
    // More may follow where the window ends.
    assert_eq!(read(&name("a.md"), &vec![b'\n'; WINDOW]), Some(Ok(TaskHeader::default())));
}

#[test]
fn a_mistake_names_the_file_and_the_line() {
    for (header, said) in [
        ("prioritty: 1", "a.md:2: unknown key `prioritty`; did you mean `priority`?"),
        ("x: 1", "a.md:2: unknown key `x`; known are priority, session, after, timeout, attempts"),
        ("\npriority: high", "a.md:3: `priority` must be a whole number, but is `high`"),
        ("priority: 1.5", "a.md:2: `priority` must be a whole number, but is `1.5`"),
        ("priority: 3000000000", "a.md:2: `priority` must be a whole number, but is `3000000000`"),
        ("priority: [1]", "a.md:2: `priority` must be a whole number, but is a list"),
        ("attempts: 0", "a.md:2: `attempts` must be a whole number from 1 to 100, but is `0`"),
        ("timeout: 30", "a.md:2: `timeout` must be a duration such as 30m, but is `30`"),
        ("timeout: 0s", "a.md:2: `timeout` must be longer than nothing"),
        ("timeout: soon", "a.md:2: `timeout` is `soon`: a duration is whole numbers"),
        ("session: a b", "a.md:2: `session`: the name \"a b\" may hold only"),
        ("session: 5", "a.md:2: `session` must be the name of a session, but is `5`"),
        ("after: a", "a.md:2: `after` names the task itself, which would wait for ever"),
        ("after: [b, ../c]", "a.md:2: `after`: "),
        ("after: {b: c}", "a.md:2: `after` must name tasks, such as [first.md], but holds a map"),
        ("priority: 1\npriority: 2", "a.md:3: the key `priority` stands twice"),
        ("just text", "a.md:2: the front matter must be keys with values, such as `priority: 5`, but is text"),
        ("- a", "a.md:2: the front matter must be keys with values, such as `priority: 5`, but is a list"),
        ("priority: 1\n  : : [", "a.md:3: "),
        ("a: 1\nb: 2", "; a.md:3: unknown key `b`"),
        ("\u{1b}[31m: 1", "a.md:2: "),
    ] {
        let found = why(format!("---\n{header}\n---\ndo it\n"));
        assert!(found.contains(said), "{header:?}: {found}");
        assert!(!found.chars().any(char::is_control), "{found:?}");
    }
    assert_eq!(why("---\npriority: 1\ndo it\n"), "a.md:1: the front matter that begins here has no line `---` that closes it");
    assert_eq!(why(b"---\npriority: 1\nsession: \xff\n---\ndo it\n"), "a.md:3: the front matter is not UTF-8");
    assert_eq!(read(&name("a.md"), b"d\xc3\xb6 it \xff\n").expect("text").expect("a task").title, "dö it \u{fffd}");
}

#[test]
fn a_hostile_header_costs_little() {
    let bomb: String =
        (0..60).map(|level| format!("a{level}: &a{level} [*a{0}, *a{0}, *a{0}]\n", level.max(1) - 1)).collect::<Vec<_>>().concat();
    let began = std::time::Instant::now();
    for header in [bomb, "[".repeat(10_000), "a: ".repeat(5_000), "? ".repeat(5_000), "&a ".repeat(4_000), "- ".repeat(8_000)] {
        let found = why(format!("---\n{header}\n---\ndo it\n"));
        assert!(found.starts_with("a.md:") && found.len() < 4_000, "{found}");
    }
    let large = format!("---\n{}\n---\ndo it\n", "# padding\n".repeat(30_000));
    assert_eq!(why(&large.as_bytes()[..WINDOW]), "a.md:1: the front matter that begins here has more than 16 KiB");
    assert_eq!(why(format!("---\n{}", "x".repeat(20_000))), why(&large), "in one line too");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

proptest! {
    #[test]
    fn any_bytes_give_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..2_000), framed in any::<bool>()) {
        let bytes = if framed { [b"---\n", &bytes[..], b"\n---\ndo it\n"].concat() } else { bytes };
        match read(&name("a.md"), &bytes) {
            Some(Ok(header)) => prop_assert!(header.title.chars().count() <= MAX_TITLE && !header.title.chars().any(char::is_control)),
            Some(Err(why)) => prop_assert!(why.starts_with("a.md:") && !why.chars().any(char::is_control), "{why:?}"),
            None => {}
        }
    }

    #[test]
    fn any_yaml_like_text_gives_an_answer(text in "([a-z]{1,9}: ?[\\[\\]{}&*!|>'\"%@`#0-9a-z,:\n -]{0,30}\n){0,8}") {
        if let Some(Err(why)) = read(&name("a.md"), format!("---\n{text}---\ndo it\n").as_bytes()) {
            prop_assert!(why.starts_with("a.md:"), "{why:?}");
        }
    }
}
