//! How long a process has been running.

use std::{fs, time::Duration};

use crate::model::ProcessId;

/// The time since a process started, suspend included, exact to 0.02 s. `None` when the kernel's clock cannot be read.
///
/// The start time of a process counts from the boot in hundredths of a second (USER_HZ, time(7)), and `/proc/uptime` in seconds
/// (proc_uptime(5)).
pub fn age(process: ProcessId) -> Option<Duration> {
    let uptime = fs::read_to_string("/proc/uptime").ok()?;
    let uptime = Duration::try_from_secs_f64(uptime.split_ascii_whitespace().next()?.parse().ok()?).ok()?;
    Some(uptime.saturating_sub(Duration::from_millis(process.started.checked_mul(10)?)))
}

#[cfg(test)]
mod tests {
    use std::{process::Command, time::Instant};

    use super::*;
    use crate::{
        host::process::{ProcessState, state},
        model::Pid,
    };

    #[test]
    fn a_child_is_no_older_than_our_order_to_start_it() {
        let before = Instant::now();
        let mut child = Command::new("true").spawn().expect("started");
        let (ProcessState::Alive { process, .. } | ProcessState::Zombie { process, .. }) =
            state(Pid(child.id().cast_signed())).expect("readable")
        else {
            panic!("nobody has waited for it");
        };
        let age = age(process).expect("known");
        child.wait().expect("ended");
        assert!(age <= before.elapsed() + Duration::from_millis(20), "{age:?}");
        assert_eq!(super::age(ProcessId { started: 0, ..process }).map(|boot| boot > age), Some(true));
        assert_eq!(super::age(ProcessId { started: u64::MAX, ..process }), None);
    }
}
