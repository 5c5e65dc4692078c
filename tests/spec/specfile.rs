//! Spec files on a real disk.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use claude_failover::{
    host::specfile::{SpecFileError, SpecFiles, Surroundings, directories_to_watch, find},
    spec::{Code, MAX_SOURCE_BYTES},
};
use nix::{sys::stat::Mode, unistd::mkfifo};
use tempfile::TempDir;

use crate::support::{BODY, HEAD, spec_with};

/// A directory of its own for each test, and surroundings in it.
struct Desk {
    directory: TempDir,
    around: Surroundings,
}

impl Desk {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let root = directory.path().canonicalize().expect("a real path");
        let around = Surroundings { variable: None, config: root.join("config"), home: root.join("home"), current: root.join("current") };
        for directory in [&around.config, &around.home, &around.current] {
            fs::create_dir(directory).expect("a directory");
        }
        Self { directory, around }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.around.current.join(path)
    }

    fn write(&self, path: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("directories");
        fs::write(&path, text).expect("a file");
        path
    }

    fn read(&self, path: &str) -> Result<SpecFiles, SpecFileError> {
        SpecFiles::read(Path::new(path), &self.around)
    }

    fn names(&self, path: &str) -> Vec<String> {
        self.read(path).expect("readable").sources.into_iter().map(|source| source.name).collect()
    }
}

#[test]
fn a_spec_is_looked_for_in_four_places() {
    let mut desk = Desk::new();
    let Err(SpecFileError::NotFound { tried }) = find(None, &desk.around) else { panic!("there is none") };
    assert_eq!(tried, [PathBuf::from("./pool.yaml"), desk.around.config.join("claude-failover/pool.yaml")]);

    fs::create_dir(desk.around.config.join("claude-failover")).expect("a directory");
    fs::write(desk.around.config.join("claude-failover/pool.yaml"), "").expect("a file");
    assert_eq!(find(None, &desk.around).ok(), Some(desk.around.config.join("claude-failover/pool.yaml")));

    // A link that leads nowhere is a mistake to report, not an absence to pass over.
    symlink("nowhere", desk.path("pool.yaml")).expect("a link");
    assert_eq!(find(None, &desk.around).ok(), Some("pool.yaml".into()));
    assert!(matches!(desk.read("pool.yaml"), Err(SpecFileError::Unreadable { .. })));

    desk.around.variable = Some("other.yaml".into());
    assert_eq!(find(None, &desk.around).ok(), Some("other.yaml".into()));
    assert_eq!(find(Some(Path::new("flag.yaml")), &desk.around).ok(), Some("flag.yaml".into()));
}

#[test]
fn drop_ins_come_in_the_order_of_their_names() {
    let desk = Desk::new();
    desk.write("pool.yaml", spec_with(""));
    for name in ["20-b.yaml", "10-a.yaml", "9.yaml", ".hidden.yaml", "README.md", "x.yaml~"] {
        desk.write(&format!("pool.d/{name}"), "");
    }
    let names = ["pool.yaml", "pool.d/10-a.yaml", "pool.d/20-b.yaml", "pool.d/9.yaml"];
    assert_eq!(desk.names("pool.yaml"), names);
    assert_eq!(desk.names("."), names.map(|name| format!("./{name}")));
    assert_eq!(desk.names(desk.around.current.to_str().expect("UTF-8")), names.map(|name| desk.path(name).display().to_string()));
    // Another spec beside it has drop-ins of its own.
    desk.write("web.yaml", spec_with(""));
    desk.write("web.d/1.yaml", "");
    assert_eq!(desk.names("web.yaml"), ["web.yaml", "web.d/1.yaml"]);
    assert!(desk.read(".").expect("readable").load().is_ok());
}

#[test]
fn paths_begin_at_the_directory_of_the_spec() {
    let desk = Desk::new();
    fs::create_dir(desk.around.home.join("work")).expect("a directory");
    desk.write("deep/pool.yaml", spec_with("  shared: { root: ./shared }\n"));
    for path in ["deep/pool.yaml", "deep", "./deep/../deep"] {
        let spec = desk.read(path).expect("readable").load().expect("right").spec;
        assert_eq!(spec.shared.root, desk.path("deep/shared"), "{path}");
        assert_eq!(spec.accounts[0].home, desk.around.home.join(".claude-accounts/primary"));
    }
}

#[test]
fn only_bounded_regular_text_is_read() {
    let desk = Desk::new();
    desk.write("large.yaml", vec![b'#'; MAX_SOURCE_BYTES + 1]);
    desk.write("bytes.yaml", b"kind: \xff");
    mkfifo(&desk.path("fifo.yaml"), Mode::S_IRUSR | Mode::S_IWUSR).expect("a FIFO");
    symlink("/dev/zero", desk.path("zero.yaml")).expect("a link");
    symlink("loop.yaml", desk.path("loop.yaml")).expect("a link");
    fs::create_dir_all(desk.path("nested.d/inner.yaml")).expect("directories");
    desk.write("nested.yaml", "");

    let start = Instant::now();
    assert!(matches!(desk.read("large.yaml"), Err(SpecFileError::TooLarge { .. })));
    assert!(matches!(desk.read("bytes.yaml"), Err(SpecFileError::NotText { offset: 6, .. })));
    assert!(matches!(desk.read("fifo.yaml"), Err(SpecFileError::NotAFile { found: "a FIFO", .. })));
    assert!(matches!(desk.read("zero.yaml"), Err(SpecFileError::NotAFile { found: "a device", .. })));
    assert!(matches!(desk.read("loop.yaml"), Err(SpecFileError::Unreadable { .. })));
    assert!(matches!(desk.read("nested.yaml"), Err(SpecFileError::NotAFile { found: "a directory", .. })));
    assert!(matches!(desk.read("absent.yaml"), Err(SpecFileError::Unreadable { .. })));
    assert!(start.elapsed() < Duration::from_secs(2), "something was waited for");
}

#[test]
fn what_only_the_disk_knows_is_a_warning() {
    let desk = Desk::new();
    fs::create_dir(desk.path("here")).expect("a directory");
    let lines = "    - { names: here, workdir: here }\n    - { names: gone, workdir: gone }\n    - { names: file, workdir: ./pool.yaml }\n";
    desk.write("pool.yaml", format!("{HEAD}{}{lines}", BODY.replace("~/work", ".")));
    desk.write("pool.d/host.yml", "spec: {}\n");
    let loaded = desk.read("pool.yaml").expect("readable").load().expect("warnings only");
    let found: Vec<_> = loaded.warnings.iter().map(|found| (found.code, found.place.as_ref().map(|place| place.line))).collect();
    assert_eq!(found, [(Code::IgnoredFile, None), (Code::WorkdirMissing, Some(11)), (Code::WorkdirMissing, Some(12))]);
    let shown = loaded.warnings.render(false).replace(&desk.around.current.display().to_string(), "/current");
    insta::assert_snapshot!("warnings-of-the-disk", shown);

    desk.write("pool.yaml", "kind: Pod\n");
    let rejected = desk.read("pool.yaml").expect("readable").load().expect_err("no spec");
    assert!(rejected.diagnostics.iter().any(|found| found.code == Code::IgnoredFile), "a warning was lost");
}

#[test]
fn a_change_of_any_file_changes_the_digest() {
    let desk = Desk::new();
    desk.write("pool.yaml", spec_with(""));
    let mut seen = BTreeSet::new();
    let digest = |desk: &Desk| desk.read("pool.yaml").expect("readable").digest();
    assert!(seen.insert(digest(&desk)));
    assert!(!seen.insert(digest(&desk)), "nothing changed");
    desk.write("pool.d/a.yaml", "");
    assert!(seen.insert(digest(&desk)));
    desk.write("pool.d/a.yaml", "# more\n");
    assert!(seen.insert(digest(&desk)));
    fs::rename(desk.path("pool.d/a.yaml"), desk.path("pool.d/b.yaml")).expect("renamed");
    assert!(seen.insert(digest(&desk)));
}

#[test]
fn the_directory_of_every_link_on_the_way_is_watched() {
    let desk = Desk::new();
    // As a deployment lays it out: a link to a version, and links through it.
    desk.write("versions/1/pool.yaml", spec_with(""));
    desk.write("versions/1/extra/10.yaml", "");
    symlink("versions/1", desk.path("live")).expect("a link");
    symlink("live", desk.path("spec")).expect("a link");
    fs::create_dir(desk.path("versions/1/pool.d")).expect("a directory");
    symlink("../extra/10.yaml", desk.path("versions/1/pool.d/10.yaml")).expect("a link");

    let watched = directories_to_watch(Path::new("spec/pool.yaml"), &desk.around);
    let wanted = ["", "versions/1", "versions/1/pool.d", "versions/1/extra"];
    assert_eq!(watched, wanted.iter().map(|path| desk.path(path).components().collect::<PathBuf>()).collect());
    assert_eq!(directories_to_watch(Path::new("spec"), &desk.around), watched);
    assert_eq!(desk.names("spec/pool.yaml"), ["spec/pool.yaml", "spec/pool.d/10.yaml"]);

    // Of what does not exist yet, the place where it would begin to.
    let watched = directories_to_watch(Path::new("absent/deep/pool.yaml"), &desk.around);
    assert_eq!(watched, BTreeSet::from([desk.around.current.clone()]));

    // A ring of links ends.
    symlink("ring-b", desk.path("ring-a")).expect("a link");
    symlink("ring-a", desk.path("ring-b")).expect("a link");
    assert!(directories_to_watch(Path::new("ring-a/pool.yaml"), &desk.around).contains(&desk.around.current));
    assert!(desk.directory.path().exists());
}

/// The examples are specs that load; only their start directories need not exist.
#[test]
fn every_example_loads() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut around = Desk::new().around;
    around.current.clone_from(&examples);
    let mut specs: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(&examples).expect("examples") {
        let name = PathBuf::from(entry.expect("an entry").file_name());
        // A script that runs an example is none.
        if name.extension().is_none_or(|extension| extension != "sh") {
            specs.push(name);
        }
    }
    // Beside the specs stands a script that shows one at work.
    specs.retain(|path| path.extension().is_none_or(|ending| ending != "sh"));
    assert!(specs.len() >= 4, "only {specs:?}");
    for path in specs {
        let files = SpecFiles::read(&path, &around).expect("readable");
        for source in &files.sources {
            let first = source.text.lines().next().unwrap_or_default();
            let schema = first.strip_prefix("# yaml-language-server: $schema=").unwrap_or_else(|| panic!("{}: {first}", source.name));
            let schema = examples.join(&source.name).with_file_name(schema);
            assert!(schema.exists(), "{}: {} does not exist", source.name, schema.display());
        }
        let loaded = files.load().unwrap_or_else(|rejected| panic!("{}\n{}", path.display(), rejected.diagnostics.render(false)));
        let other = loaded.warnings.iter().find(|found| ![Code::WorkdirMissing, Code::ProjectMissing].contains(&found.code));
        assert_eq!(other, None, "{}", path.display());
    }
}
