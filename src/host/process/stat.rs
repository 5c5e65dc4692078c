//! `/proc/PID/stat`, as far as we need it (proc(5), "/proc/pid/stat").

use crate::{model::Pid, observed::Death};

/// The fields of one line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stat {
    /// Field 3: one letter.
    pub(super) state: u8,
    /// Field 4.
    pub(super) parent: Pid,
    /// Field 22: start time in clock ticks since boot.
    pub(super) started: u64,
    /// Field 52: the status as waitpid(2) has it. It means something for a zombie only, and reads 0 for those who may not know it.
    pub(super) wait_status: i32,
}

impl Stat {
    /// Reads one line. The program's name (field 2) may hold spaces and brackets, so the fields are counted from its last `)`.
    pub(super) fn parse(line: &[u8]) -> Option<Self> {
        let name_end = line.iter().rposition(|&byte| byte == b')')?;
        let rest = std::str::from_utf8(&line[name_end + 1..]).ok()?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        // The first field behind the name is field 3.
        let field = |number: usize| fields.get(number - 3).copied();
        Some(Self {
            state: *field(3)?.as_bytes().first()?,
            parent: Pid(field(4)?.parse().ok()?),
            started: field(22)?.parse().ok()?,
            wait_status: field(52)?.parse().ok()?,
        })
    }

    /// Whether nothing of the process runs any more.
    pub(super) const fn has_ended(&self) -> bool {
        matches!(self.state, b'Z' | b'X' | b'x')
    }

    /// How it ended, for a zombie whose status we may read.
    pub(super) const fn death(&self) -> Death {
        // waitpid(2): the low seven bits are the signal, the second byte is the exit code.
        match self.wait_status & 0x7f {
            0 => Death { code: Some((self.wait_status >> 8) & 0xff), signal: None },
            signal => Death { code: None, signal: Some(signal) },
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(name: &str, state: char, status: i32) -> String {
        let mut fields = vec!["0".to_owned(); 50];
        fields[0] = state.to_string();
        fields[4 - 3] = "7".to_owned();
        fields[22 - 3] = "987654".to_owned();
        fields[52 - 3] = status.to_string();
        format!("42 ({name}) {}\n", fields.join(" "))
    }

    #[test]
    fn a_program_name_cannot_shift_the_fields() {
        for name in ["sleep", "a) R 1 1 1", "((", ") Z 9 ", "", "tab\there", "new\nline"] {
            let stat = Stat::parse(line(name, 'S', 0).as_bytes()).unwrap_or_else(|| panic!("{name:?} was not read"));
            assert_eq!((stat.state, stat.parent, stat.started), (b'S', Pid(7), 987_654), "{name:?}");
            assert!(!stat.has_ended());
        }
    }

    #[test]
    fn a_zombie_tells_how_it_ended() {
        let death = |status| Stat::parse(line("x", 'Z', status).as_bytes()).expect("well formed").death();
        assert_eq!(death(0), Death { code: Some(0), signal: None });
        assert_eq!(death(3 << 8), Death { code: Some(3), signal: None });
        assert_eq!(death(9), Death { code: None, signal: Some(9) });
        assert_eq!(death(0x80 | 0x0b), Death { code: None, signal: Some(11) }, "a core dump is a signal too");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Stat::parse(&bytes);
        }
    }
}
