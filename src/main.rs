//! The binary: arguments in, exit code out.

fn main() -> std::process::ExitCode {
    claude_failover::cli::run()
}
