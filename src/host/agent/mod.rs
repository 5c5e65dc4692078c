//! All that is known of the Claude Code CLI: how it is started, what it writes, what it reads. Nothing else may know it.
