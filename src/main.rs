//! The binary: arguments in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some("stand-in") {
        return claude_failover::standin::main(arguments);
    }
    ExitCode::SUCCESS
}
